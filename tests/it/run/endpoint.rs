//! The endpoint of requests: its layers, the layers that may select it, and credentials that are never sent over plain
//! http. A server that reads bytes observes the requests.

use super::scene::{SHORT, Scene, files};
use super::tls;
use super::wire::listen;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::Receiver;

/// Returns [`SHORT`] with two requests and another endpoint, or none.
fn plan(endpoint: Option<&str>) -> String {
    let line = endpoint.map_or_else(String::new, |endpoint| format!("endpoint = {endpoint:?}\n"));
    let load = SHORT.replace("seed = 7\n", "seed = 7\nrequests = 2\n");
    load.replace("endpoint = \"simulated\"\n", &format!("{line}region = \"us-east-1\"\n"))
}

fn keys(command: &mut Command) -> &mut Command {
    command.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "x")
}

/// Writes an AWS configuration file and returns its path.
fn profile(scene: &Scene, text: &str) -> String {
    let path = scene.path("aws_config");
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

fn heads(received: &Receiver<(String, String)>) -> Vec<String> {
    received.try_iter().map(|(head, _)| head).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn bearer_token_is_never_sent_over_http_in_any_spelling() {
    for source in ["--endpoint-url", "BEDROCK_PLAN_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "profile"] {
        let (port, received) = listen();
        let scene = Scene::new().plan(&plan(None));
        let url = format!("HTTP://127.0.0.1:{port}");
        let mut command = scene.run_command(&[]);
        match source {
            flag if flag.starts_with("--") => command.args([flag, &url]),
            "profile" => command.env("AWS_CONFIG_FILE", profile(&scene, &format!("[default]\nendpoint_url = {url}\n"))),
            variable => command.env(variable, &url),
        };
        keys(&mut command).env("AWS_BEARER_TOKEN_BEDROCK", "top-secret");
        scene.expect(0, command);
        let heads = heads(&received);
        assert_eq!(heads.len(), 2, "{source}");
        for head in heads {
            assert!(head.contains("authorization: aws4-hmac-sha256 credential=akid/"), "{source}: {head}");
            assert!(!head.contains("top-secret"), "{source}: {head}");
        }
        assert_eq!(scene.manifest()["endpoint"], format!("http://127.0.0.1:{port}"), "{source}");
    }
}

#[test]
fn each_layer_overrides_the_endpoint_of_lower_layers() {
    let scene = Scene::new();
    let config = profile(
        &scene,
        "[default]\nendpoint_url = https://all\nservices = work\n[profile plain]\nendpoint_url = https://plain\n\
         [services work]\nbedrock_runtime =\n  endpoint_url = https://service\n",
    );
    let ignore = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    let variables = [
        ("AWS_CONFIG_FILE", &*config),
        ("AWS_ENDPOINT_URL", "https://a"),
        ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "https://b"),
        ("BEDROCK_PLAN_ENDPOINT_URL", "https://c"),
    ];
    let profile = json!({"layer": "profile", "name": "services section of the AWS profile"});
    let plain = json!({"layer": "profile", "name": "endpoint_url of the AWS profile"});
    let file = json!({"layer": "file", "name": "plan.toml:3"});
    let env = |name: &str| json!({"layer": "env", "name": name});
    let flag = json!({"layer": "flag", "name": "--endpoint-url"});
    let default = json!({"layer": "default"});
    for (in_plan, env, flags, expected, origin) in [
        (None, &variables[..0], &[][..], "aws", &default),
        (None, &variables[..1], &[], "https://service", &profile),
        (None, &variables[..1], &["--profile", "plain"], "https://plain", &plain),
        (Some("aws"), &variables[..1], &[], "aws", &file),
        (Some("https://plan"), &variables[..1], &[], "https://plan", &file),
        (Some("https://plan"), &variables[..2], &[], "https://a", &env("AWS_ENDPOINT_URL")),
        (Some("aws"), &variables[..3], &[], "https://b", &env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME")),
        (Some("aws"), &variables[..], &[], "https://c", &env("BEDROCK_PLAN_ENDPOINT_URL")),
        (Some("https://plan"), &variables[..], &["--endpoint-url", "aws"], "aws", &flag),
        (None, &[&variables[..3], &[ignore]].concat(), &[], "aws", &default),
        (None, &[&variables[..4], &[ignore]].concat(), &[], "https://c", &env("BEDROCK_PLAN_ENDPOINT_URL")),
    ] {
        std::fs::write(scene.path("plan.toml"), plan(in_plan)).unwrap();
        let mut command = scene.command(&["show", "plan.toml", "--format", "json"]);
        command.args(flags).envs(env.iter().copied());
        let shown: Value = serde_json::from_slice(&scene.expect(0, command).stdout).unwrap();
        let found = (&shown["plan"]["target"]["endpoint"], &shown["origin"]["target.endpoint"]);
        assert_eq!(found, (&json!(expected), origin), "{in_plan:?} {env:?} {flags:?}");
    }
}

#[test]
fn explicit_aws_endpoint_overrides_profile_and_environment() {
    let (port, received) = listen();
    let url = format!("http://127.0.0.1:{port}");
    let all = [("AWS_ENDPOINT_URL", &*url), ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", &*url)];
    let ignored = [all[0], ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")];
    for (in_plan, env, flags) in
        [(Some("aws"), &[][..], &[][..]), (Some(&*url), &all, &["--endpoint-url", "aws"]), (None, &ignored, &[])]
    {
        let (proxy, proxied) = listen();
        let scene = Scene::new().plan(&plan(in_plan));
        let config = profile(&scene, &format!("[default]\nendpoint_url = {url}\n"));
        let mut command = scene.run_command(flags);
        keys(&mut command).envs(env.iter().copied()).env("AWS_CONFIG_FILE", config);
        command.env("HTTPS_PROXY", format!("http://127.0.0.1:{proxy}"));
        scene.expect(4, command);
        let heads = heads(&proxied);
        let host = "connect bedrock-runtime.us-east-1.amazonaws.com:443 ";
        assert!(!heads.is_empty() && heads.iter().all(|head| head.starts_with(host)), "{in_plan:?}: {heads:?}");
        assert_eq!(scene.manifest()["endpoint"], "aws");
    }
    assert!(heads(&received).is_empty(), "the profile's endpoint is never called");
}

#[test]
fn output_names_the_endpoint_of_the_profile_as_not_aws() {
    let (port, _heard) = listen();
    let url = format!("http://127.0.0.1:{port}");
    let scene = Scene::new().plan(&plan(None));
    let config = profile(&scene, &format!("[default]\nendpoint_url = {url}\n"));
    let outputs = ["junit=j.xml", "markdown=m.md", "json=s.json", "html=r.html", "benchmark=b.json", "emf=e.json"];
    let more: Vec<&str> = outputs.iter().flat_map(|output| ["--output", output]).collect();
    let mut command = scene.run_command(&more);
    keys(&mut command).env("AWS_CONFIG_FILE", &config);
    let output = scene.expect(0, command);
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(printed.contains("NOT AWS: these numbers come from another server"), "{printed}");
    let announced = stderr(&output);
    assert!(announced.contains(&format!("NOT AWS: requests go to {url}")), "{announced}");
    let manifest = scene.manifest();
    assert_eq!(manifest["endpoint"], json!(url));
    assert_eq!(manifest["origins"]["target.endpoint"]["layer"], "profile");
    assert_eq!(scene.rows()[0]["endpoint"], url);
    let summary: Value = serde_json::from_str(&text(&scene.path("results/summary.json"))).unwrap();
    assert_eq!((&summary["run"]["endpoint"], &summary["run"]["not_aws"]), (&json!(url), &json!(true)));
    let mut labelled = 0;
    for name in files(&scene.path("results")) {
        if [".html", ".md", ".svg"].iter().any(|end| name.ends_with(end)) {
            assert!(text(&scene.path("results").join(&name)).contains("NOT AWS"), "{name}");
            labelled += 1;
        }
    }
    assert!(labelled > 5, "{labelled}");
    for (name, label) in [
        ("j.xml", &*format!("<property name=\"not_aws\" value=\"{url}\"/>")),
        ("m.md", "**NOT AWS**"),
        ("s.json", "\"not_aws\": true"),
        ("r.html", "NOT AWS"),
        ("b.json", "\"extra\": \"NOT AWS: "),
        ("e.json", &*url),
    ] {
        assert!(text(&scene.path(name)).contains(label), "{name}");
    }

    // Two sessions in one comparison.
    std::fs::rename(scene.path("results"), scene.path("first")).unwrap();
    scene.run(0, &["--endpoint-url", &url]);
    let compared = scene.expect(0, scene.command(&["compare", "first", "results"])).stdout;
    assert!(String::from_utf8(compared).unwrap().starts_with("NOT AWS"));

    // Hosts of AWS are not labelled.
    for (url, is_labelled) in [
        ("https://vpce-0a1-b2.bedrock-runtime.us-east-1.vpce.amazonaws.com", false),
        ("https://bedrock-runtime-fips.us-east-1.api.aws", false),
        ("https://bedrock-runtime.us-east-1.amazonaws.com.example", true),
    ] {
        let shown = scene.expect(0, scene.command(&["show", "plan.toml", "--endpoint-url", url])).stdout;
        assert_eq!(String::from_utf8(shown).unwrap().contains("NOT AWS"), is_labelled, "{url}");
    }
}

#[test]
fn a_plan_alone_selects_no_host_for_credentials() {
    // A loopback endpoint receives a signature without real credentials.
    let (port, received) = listen();
    let scene = Scene::new().plan(&plan(Some(&format!("http://127.0.0.1:{port}"))));
    let mut command = scene.run_command(&[]);
    keys(&mut command).env("AWS_SESSION_TOKEN", "the-token").env("AWS_BEARER_TOKEN_BEDROCK", "top-secret");
    scene.expect(0, command);
    let heads = heads(&received);
    assert_eq!(heads.len(), 2);
    for head in heads {
        assert!(head.contains("credential=simulated/"), "{head}");
        assert!(!head.contains("the-token") && !head.contains("top-secret") && !head.contains("akid"), "{head}");
    }

    // Other hosts are not called, even with a name that ends like one of AWS.
    for url in
        ["https://elsewhere.example", "https://a1.execute-api.us-east-1.amazonaws.com", "http://elsewhere.example"]
    {
        let scene = Scene::new().plan(&plan(None));
        std::fs::write(scene.path("base.toml"), format!("[target]\nendpoint = {url:?}\n")).unwrap();
        std::fs::write(scene.path("plan.toml"), format!("extends = \"base.toml\"\n{}", plan(None))).unwrap();
        let (proxy, proxied) = listen();
        let proxy = format!("http://127.0.0.1:{proxy}");
        let run = |flags: &[&str]| {
            let mut command = scene.run_command(flags);
            keys(&mut command).env("AWS_BEARER_TOKEN_BEDROCK", "top-secret");
            command.env("HTTPS_PROXY", &proxy).env("HTTP_PROXY", &proxy);
            command
        };
        for more in [&[][..], &["--preflight-only"]] {
            let refused = stderr(&scene.expect(2, run(more)));
            let hint = format!("pass `--endpoint-url {url}` if you trust this host");
            assert!(refused.contains(&format!("no AWS credentials are sent to `{url}`")), "{refused}");
            assert!(refused.contains(&hint), "{refused}");
        }
        assert!(proxied.try_recv().is_err() && !scene.path("results").exists(), "{url}");
        let shown = scene.expect(0, scene.command(&["show", "plan.toml"])).stdout;
        assert!(String::from_utf8(shown).unwrap().contains("no AWS credentials are sent to it"), "{url}");
        let code = if url.starts_with("http://") { 0 } else { 4 };
        scene.expect(code, run(&["--endpoint-url", url]));
        assert!(proxied.try_recv().is_ok(), "a flag is the user's own word: {url}");
    }
}

#[test]
fn an_empty_bearer_token_is_unset() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (token, expected) in [("", "AWS4-HMAC-SHA256 Credential=AKID/"), (" ", "AWS4-"), ("real", "Bearer real")] {
        let scene = Scene::new().plan(&plan(None));
        let (port, seen) = tls::start(&runtime, &scene.path("root.pem"));
        let mut command = scene.run_command(&["--endpoint-url", &format!("HTTPS://localhost:{port}")]);
        keys(&mut command).env("AWS_BEARER_TOKEN_BEDROCK", token).env("SSL_CERT_FILE", scene.path("root.pem"));
        scene.expect(0, command);
        let authorizations = seen.authorizations.lock().unwrap().clone();
        assert_eq!(authorizations.len(), 2, "{token:?}");
        assert!(authorizations.iter().all(|header| header.starts_with(expected)), "{token:?}: {authorizations:?}");
    }
}

#[test]
fn session_token_is_sent_over_http_only_if_allowed() {
    let (proxy, proxied) = listen();
    let proxy = format!("http://127.0.0.1:{proxy}");
    let scene = Scene::new().plan(&plan(None));
    let run = |more: &[&str]| {
        let mut command = scene.run_command(&[&["--endpoint-url", "HTTP://bedrock.example"], more].concat());
        keys(&mut command).env("AWS_SESSION_TOKEN", "the-token").env("HTTP_PROXY", &proxy);
        command
    };
    let refused = stderr(&scene.expect(2, run(&[])));
    assert!(refused.contains("no AWS session token is sent to `http://bedrock.example` over http"), "{refused}");
    assert!(refused.contains("--allow-http"), "{refused}");
    assert!(heads(&proxied).is_empty() && !scene.path("results").exists());

    let mut by_variable = run(&[]);
    by_variable.env("BEDROCK_PLAN_ALLOW_HTTP", "true");
    for command in [by_variable, run(&["--allow-http", "--overwrite"])] {
        scene.expect(0, command);
        let heads = heads(&proxied);
        assert!(heads.len() == 2 && heads.iter().all(|head| head.contains("x-amz-security-token: the-token")));
    }
    // A bearer token is never sent over http, and a plan cannot allow it.
    let mut bearer = scene.run_command(&["--endpoint-url", "http://bedrock.example", "--allow-http", "--overwrite"]);
    bearer.env("AWS_BEARER_TOKEN_BEDROCK", "top-secret").env("HTTP_PROXY", &proxy);
    let refused = stderr(&scene.expect(4, bearer));
    assert!(refused.contains("a bearer token is never sent over http"), "{refused}");
    assert!(heads(&proxied).is_empty());
    std::fs::write(scene.path("plan.toml"), plan(None).replace("region =", "allow_http = true\nregion =")).unwrap();
    assert!(stderr(&scene.expect(2, run(&["--overwrite"]))).contains("allow_http"));
}

#[test]
fn resume_at_another_endpoint_is_refused() {
    let ((first, _), (second, received)) = (listen(), listen());
    let scene = Scene::new().plan(&plan(None));
    scene.run(0, &["--endpoint-url", &format!("http://127.0.0.1:{first}")]);
    let refused = stderr(&scene.run(2, &["--resume", "--endpoint-url", &format!("http://127.0.0.1:{second}")]));
    assert!(refused.contains(&format!("was `http://127.0.0.1:{first}`")), "{refused}");
    assert!(heads(&received).is_empty());
}

#[test]
fn bucket_uses_only_the_endpoint_of_s3() {
    let other = "http://127.0.0.1:1";
    for source in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "profile"] {
        let (port, received) = listen();
        let scene = Scene::new();
        let url = format!("HTTP://127.0.0.1:{port}");
        let mut command = scene.command(&["merge", "S3://bucket/one", "--to", "merged"]);
        // Loopback is not proxied; neither the endpoint of Bedrock nor an unknown variable selects the server.
        keys(&mut command).env("HTTP_PROXY", other).env("AWS_REGION", "us-east-1");
        command
            .env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", other)
            .env("AWS_ENDPOINT", other)
            .env("AWS_ENDPOINT_URL_S3", "");
        if source == "profile" {
            let text = format!("[default]\nservices = a\n[services a]\ns3 =\n  endpoint_url = {url}\n");
            command.env("AWS_CONFIG_FILE", profile(&scene, &text));
        } else {
            command.env(source, &url);
        }
        let output = command.output().unwrap();
        let heads = heads(&received);
        assert!(heads.iter().any(|head| head.starts_with("get /bucket")), "{source}: {heads:?} {}", stderr(&output));
        assert!(heads.iter().all(|head| head.contains("credential=akid/")), "{source}: {heads:?}");
    }
}

#[test]
fn session_token_for_a_bucket_is_sent_over_http_only_if_allowed() {
    let (proxy, proxied) = listen();
    let scene = Scene::new();
    let merge = |more: &[&str]| {
        let mut command = scene.command(&[&["merge", "s3://bucket/one", "--to", "merged"], more].concat());
        keys(&mut command).env("AWS_SESSION_TOKEN", "the-token").env("AWS_REGION", "us-east-1");
        command.env("AWS_ENDPOINT_URL_S3", "http://s3.example").env("HTTP_PROXY", format!("http://127.0.0.1:{proxy}"));
        command
    };
    let refused = stderr(&scene.expect(4, merge(&[])));
    assert!(refused.contains("no AWS session token is sent to `http://s3.example` over http"), "{refused}");
    assert!(heads(&proxied).is_empty());
    let _ = merge(&["--allow-http"]).output().unwrap();
    assert!(heads(&proxied).iter().any(|head| head.contains("x-amz-security-token: the-token")));
}

#[test]
fn a_job_script_names_the_endpoint_of_the_profile() {
    let scene = Scene::new().plan(&plan(None));
    let config = profile(&scene, "[default]\nendpoint_url = https://gateway.example\n");
    let mut command = scene.command(&["submit", "plan.toml", "--print", "--tasks", "2", "--allow-http"]);
    command.env("AWS_CONFIG_FILE", config);
    let script = String::from_utf8(scene.expect(0, command).stdout).unwrap();
    assert!(script.contains("--endpoint-url=https://gateway.example"), "{script}");
    assert!(script.contains("BEDROCK_PLAN_ALLOW_HTTP"), "merge needs it too: {script}");
}
