//! AWS configuration of connections: profiles, credentials, certificates, FIPS, proxies, and redirects.

use super::scene::{SHORT, Scene};
use super::secrets::{http, serve};
use super::tls;
use super::wire::listen;
use std::process::{Command, Output, Stdio};

fn keys(command: &mut Command) -> &mut Command {
    command.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "x").env("AWS_REGION", "us-east-1")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns the error message without the output before it.
fn error(output: &Output) -> String {
    let text = stderr(output);
    text[text.find("error:").unwrap_or(0)..].to_owned()
}

/// Writes both profile files.
fn with_profiles<'c>(scene: &Scene, command: &'c mut Command) -> &'c mut Command {
    let (config, credentials) = (scene.path("aws_config"), scene.path("aws_credentials"));
    std::fs::write(&config, "[default]\nregion = us-east-1\n[profile staging]\nregion = us-east-1\n").unwrap();
    std::fs::write(&credentials, "[production]\naws_access_key_id = A\naws_secret_access_key = b\n").unwrap();
    command.env("AWS_CONFIG_FILE", "aws_config").env("AWS_SHARED_CREDENTIALS_FILE", "aws_credentials")
}

#[test]
fn missing_profile_is_reported_with_existing_profiles() {
    let scene = Scene::new().plan(SHORT);
    let mut by_variable = scene.run_command(&["--endpoint-url", "aws"]);
    with_profiles(&scene, &mut by_variable).env("AWS_PROFILE", "stagign");
    insta::assert_snapshot!("unknown_profile", error(&scene.expect(4, by_variable)));

    // Keys in the environment do not hide the mistake, since they may belong to another account.
    let mut by_flag = scene.run_command(&["--endpoint-url", "aws", "--profile", "prod"]);
    keys(with_profiles(&scene, &mut by_flag));
    assert!(error(&scene.expect(4, by_flag)).contains("no AWS profile is called `prod`"));
    let mut merge = scene.command(&["merge", "s3://bucket/one", "--to", "merged"]);
    keys(with_profiles(&scene, &mut merge)).env("AWS_PROFILE", "stagign");
    assert!(error(&scene.expect(4, merge)).contains("no AWS profile is called `stagign`"));
    let mut without_files = scene.run_command(&["--endpoint-url", "aws"]);
    keys(&mut without_files).env("AWS_PROFILE", "stagign");
    assert!(
        error(&scene.expect(4, without_files)).contains("neither `~/.aws/config` nor `~/.aws/credentials` defines any")
    );
    assert!(!scene.path("results").exists() && !scene.path("merged").exists());

    // A simulated run uses no profile.
    let mut simulated = scene.run_command(&["--simulated", "--requests", "1"]);
    with_profiles(&scene, &mut simulated).env("AWS_PROFILE", "stagign");
    scene.expect(0, simulated);
}

#[test]
fn sdk_text_about_missing_credentials_is_shown_with_verbose_only() {
    let scene = Scene::new().plan(SHORT);
    let run = |more: &[&str]| {
        stderr(
            &scene.expect(4, scene.run_command(&[&["--endpoint-url", "aws", "--region", "us-east-1"], more].concat())),
        )
    };
    let plain = run(&[]);
    assert_eq!(plain.lines().count(), 2, "the error and its hint: {plain}");
    assert!(!plain.contains("credential provider was not enabled"), "{plain}");
    assert!(run(&["-v"]).contains("the credential provider was not enabled"), "the SDK's text is in the log");
}

#[test]
fn certificates_of_a_ca_bundle_are_trusted() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for source in ["AWS_CA_BUNDLE", "ca_bundle"] {
        let scene = Scene::new().plan(SHORT);
        let (port, seen) = tls::start(&runtime, &scene.path("root.pem"));
        let url = format!("https://localhost:{port}");
        let trusting = |mut command: Command| {
            if source == "ca_bundle" {
                std::fs::write(scene.path("aws_config"), "[default]\nca_bundle = ~/root.pem\n").unwrap();
                command.env("AWS_CONFIG_FILE", "aws_config");
            } else {
                command.env(source, "root.pem");
            }
            keys(&mut command);
            command
        };
        scene.expect(0, trusting(scene.run_command(&["--endpoint-url", &url, "--requests", "2"])));
        assert_eq!(seen.authorizations.lock().unwrap().len(), 2, "{source}");
        // The same for an exchange. The server has no bucket; receiving the request is enough.
        let mut merge = trusting(scene.command(&["merge", "s3://bucket/one", "--to", "merged"]));
        let mut merging = merge.env("AWS_ENDPOINT_URL_S3", &url).stderr(Stdio::null()).spawn().unwrap();
        while seen.authorizations.lock().unwrap().len() == 2 {
            assert!(merging.try_wait().unwrap().is_none(), "{source}: it ended without a request");
            std::thread::yield_now();
        }
        merging.kill().unwrap();
        merging.wait().unwrap();
    }
}

#[test]
fn unreadable_certificates_are_reported_before_the_run() {
    let scene = Scene::new().plan(SHORT);
    std::fs::write(scene.path("empty.pem"), "not a certificate\n").unwrap();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(scene.path("broken.pem"), garbage).unwrap();
    std::fs::create_dir(scene.path("directory.pem")).unwrap();
    for (file, reason) in [
        ("missing.pem", "No such file"),
        ("empty.pem", "it contains no certificate in PEM format"),
        ("broken.pem", "certificate 1 is invalid"),
        ("directory.pem", "it is not a regular file"),
    ] {
        let mut command = scene.run_command(&["--endpoint-url", "aws"]);
        keys(&mut command).env("AWS_CA_BUNDLE", file);
        let message = error(&scene.expect(2, command));
        assert!(message.contains(&format!("AWS_CA_BUNDLE: cannot use `{file}`: {reason}")), "{message}");
        assert!(message.contains("= help: name a PEM file"), "{message}");
    }
    assert!(!scene.path("results").exists());
}

#[test]
fn fips_and_dual_stack_are_refused_with_an_endpoint_url() {
    let scene = Scene::new().plan(SHORT);
    let profile = "[default]\nuse_fips_endpoint = true\nuse_dualstack_endpoint = true\n";
    std::fs::write(scene.path("aws_config"), profile).unwrap();
    let url = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "https://gateway.example");
    let without_endpoint = SHORT.replace("endpoint = \"simulated\"\n", "");
    std::fs::write(scene.path("plan.toml"), &without_endpoint).unwrap();
    for (variables, named) in [
        (&[("AWS_USE_FIPS_ENDPOINT", "true"), url][..], &["AWS_USE_FIPS_ENDPOINT: it selects a FIPS endpoint"][..]),
        (&[("AWS_USE_DUALSTACK_ENDPOINT", "TRUE"), url], &["AWS_USE_DUALSTACK_ENDPOINT: it selects a dual-stack"]),
        (
            &[("AWS_CONFIG_FILE", "aws_config"), url],
            &["use_fips_endpoint of the AWS profile: ", "use_dualstack_endpoint of the AWS profile: "],
        ),
        (&[("AWS_USE_FIPS_ENDPOINT", "yes")], &["AWS_USE_FIPS_ENDPOINT: invalid value `yes`: expected true or false"]),
    ] {
        let mut command = scene.run_command(&[]);
        keys(&mut command).envs(variables.iter().copied());
        let message = error(&scene.expect(2, command));
        for named in named {
            assert!(message.contains(named), "{variables:?}: {message}");
        }
        let by = "`AWS_ENDPOINT_URL_BEDROCK_RUNTIME` sets the endpoint URL `https://gateway.example`";
        assert_eq!(message.contains(by), variables.contains(&url), "{message}");
    }
    // The same for an exchange.
    let mut merge = scene.command(&["merge", "s3://bucket/one", "--to", "merged"]);
    keys(&mut merge).env("AWS_USE_FIPS_ENDPOINT", "true").env("AWS_ENDPOINT_URL_S3", "https://s3.example");
    let message = error(&scene.expect(2, merge));
    assert!(message.contains("`AWS_ENDPOINT_URL_S3` sets the endpoint URL `https://s3.example`"), "{message}");
    // A variable that disables the feature is no conflict, nor is a simulated run.
    let mut off = scene.command(&["show", "plan.toml"]);
    scene.expect(0, {
        off.env("AWS_USE_FIPS_ENDPOINT", "false").env(url.0, url.1);
        off
    });
    let mut simulated = scene.run_command(&["--simulated", "--requests", "1"]);
    simulated.env("AWS_USE_FIPS_ENDPOINT", "true");
    scene.expect(0, simulated);
}

#[test]
fn redirect_is_reported_but_not_followed() {
    let (elsewhere, received) = listen();
    let long = "x".repeat(3_000);
    let address = serve(move |_, _| {
        let location = format!("http://127.0.0.1:{elsewhere}/a?token=abcdefghijklmnop&b={long}");
        http(307, &format!("Location: {location}\r\n"), "")
    });
    let scene = Scene::new().plan(SHORT);
    let url = format!("http://{address}");
    for api in ["converse", "converse-stream"] {
        scene.run(3, &["--endpoint-url", &url, "--requests", "2", "--user-counts", "1", "--overwrite", "--api", api]);
        for record in scene.records() {
            let message = record["error_message"].as_str().unwrap();
            assert!(
                message.contains(&format!("the redirect to `http://127.0.0.1:{elsewhere}/a?token=[redacted]")),
                "{message}"
            );
            assert!(message.contains("is not followed") && message.len() < 400, "{message}");
            assert_eq!(record["http_status"], 307);
        }
    }
    assert!(received.try_recv().is_err(), "nothing was sent to the target of the redirect");
}

#[test]
fn proxy_credentials_are_sent_over_plain_http_too() {
    // "jane:s3cret p@ss", and a user without a password.
    for (variable, login, expected) in [
        ("HTTP_PROXY", "jane:s3cret%20p%40ss@", Some("proxy-authorization: basic amfuztpzm2nyzxqgcebzcw==")),
        ("ALL_PROXY", "jane:s3cret%20p%40ss@", Some("proxy-authorization: basic ")),
        ("http_proxy", "", None),
    ] {
        let (proxy, received) = listen();
        let scene = Scene::new().plan(SHORT);
        let mut command = scene.run_command(&["--endpoint-url", "http://bedrock.example", "--requests", "2"]);
        keys(&mut command).env(variable, format!("http://{login}127.0.0.1:{proxy}"));
        scene.expect(0, command);
        let heads: Vec<String> = received.try_iter().map(|(head, _)| head).collect();
        assert_eq!(heads.len(), 2, "{variable}");
        for head in heads {
            assert!(head.starts_with("post http://bedrock.example/model/"), "{head}");
            match expected {
                Some(expected) => assert!(head.contains(expected), "{head}"),
                None => assert!(!head.contains("proxy-authorization"), "{head}"),
            }
        }
        // A server that is called directly receives no proxy credentials.
        let (server, direct) = listen();
        let url = format!("http://127.0.0.1:{server}");
        let mut command = scene.run_command(&["--endpoint-url", &url, "--requests", "1", "--overwrite"]);
        keys(&mut command).env(variable, format!("http://{login}127.0.0.1:{proxy}"));
        scene.expect(0, command);
        assert!(direct.try_iter().all(|(head, _)| !head.contains("proxy-authorization")));
    }
}
