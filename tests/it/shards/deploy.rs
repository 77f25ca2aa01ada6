//! The recipes under `deploy/`, validated with the schemas of Kubernetes and AWS; command lines in them are parsed by the
//! real command line.

use crate::support::{command, python_has};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(deploy(name)).unwrap()
}

fn python(script: &str, arguments: &[&str]) -> Output {
    Command::new("python3").args(["-c", script]).args(arguments).output().unwrap()
}

fn output_text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Validates each document of a file with the schema of one version.
const KUBERNETES: &str = "
import sys, yaml, kubernetes_validate
for document in yaml.safe_load_all(sys.argv[2]):
    kubernetes_validate.validate(document, sys.argv[1], strict=True)
    print(document['kind'])
";

#[test]
fn manifests_conform_to_the_kubernetes_schema() {
    if !python_has("kubernetes_validate") {
        return;
    }
    let (setup, job) = (read("kubernetes-indexed-job/setup.yaml"), read("kubernetes-indexed-job/job.yaml"));
    for version in ["1.29", "1.33"] {
        let output = python(KUBERNETES, &[version, &format!("{setup}---\n{job}")]);
        assert_eq!(output_text(&output), "ServiceAccount\nConfigMap\nJob\n", "{version}");
    }
    for (key, wrong) in [("completionMode", "completionsMode"), ("serviceAccountName", "serviceAcountName")] {
        let misspelt = job.replacen(key, wrong, 1);
        assert_ne!(misspelt, job);
        let output = python(KUBERNETES, &["1.29", &misspelt]);
        assert!(!output.status.success() && output_text(&output).contains(wrong), "{}", output_text(&output));
    }
}

/// Prints the values that an Indexed Job repeats in several places.
const JOB: &str = "
import sys, json, yaml
job = yaml.safe_load(sys.argv[1])
spec = job['spec']
pod = spec['template']['spec']
container, = pod['containers']
env = {one['name']: one.get('value') for one in container['env']}
assert spec['completionMode'] == 'Indexed' and pod['restartPolicy'] == 'Never'
assert spec['backoffLimitPerIndex'] == 0 and 'backoffLimit' not in spec and 'maxFailedIndexes' not in spec
assert spec['completions'] == spec['parallelism'] == int(env['BEDROCK_PLAN_SHARDS'])
assert all(set(container['resources']['limits'].items()) == set(container['resources']['requests'].items()) for _ in [0])
assert job['metadata'].get('generateName') and 'name' not in job['metadata']
mounts = {mount['name'] for mount in container['volumeMounts']}
assert mounts == {volume['name'] for volume in pod['volumes']}
labels = spec['template']['metadata']['labels']
term, = pod['affinity']['podAntiAffinity']['requiredDuringSchedulingIgnoredDuringExecution']
assert term['labelSelector']['matchLabels'].items() <= labels.items()
print(json.dumps({'args': container['args'], 'grace': pod['terminationGracePeriodSeconds']}))
";

#[test]
fn job_manifest_is_consistent_and_its_plan_is_valid() {
    if !python_has("yaml") {
        return;
    }
    let output = python(JOB, &[&read("kubernetes-indexed-job/job.yaml")]);
    assert!(output.status.success(), "{}", output_text(&output));
    let job: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();

    let setup = read("kubernetes-indexed-job/setup.yaml");
    let plan = "import sys, yaml
for one in yaml.safe_load_all(sys.argv[1]):
    if one['kind'] == 'ConfigMap': sys.stdout.write(one['data']['plan.toml'])";
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plan.toml"), python(plan, &[&setup]).stdout).unwrap();
    // The variables of the pod are set when the plan is read.
    let mut show = command(dir.path(), &["show", "plan.toml", "--format", "json"]);
    let output = show.env("BEDROCK_PLAN_SHARDS", "8").env("JOB_COMPLETION_INDEX", "7").output().unwrap();
    assert!(output.status.success(), "{}", output_text(&output));
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let drain = shown["plan"]["load"]["drain"].as_str().unwrap();
    assert_eq!((drain, &job["grace"]), ("1m", &serde_json::json!(120)), "time to drain, and to hand over");
}

/// Validates a request with the service model that the AWS SDK uses.
const BATCH: &str = "
import sys, json, botocore.session, botocore.validate
shape = botocore.session.get_session().get_service_model('batch').operation_model(sys.argv[1]).input_shape
report = botocore.validate.ParamValidator().validate(json.loads(sys.argv[2]), shape)
print(report.generate_report())
# Beside the types: its validator lets unknown names of nested structures and of enumerations pass.
def known(value, shape, at):
    if shape.type_name == 'structure':
        for name, inner in value.items():
            assert name in shape.members, f'{at}.{name} is unknown'
            known(inner, shape.members[name], f'{at}.{name}')
    elif shape.type_name == 'list':
        for inner in value: known(inner, shape.member, at)
    elif getattr(shape, 'enum', None):
        assert value in shape.enum, f'{at} is {value}'
known(json.loads(sys.argv[2]), shape, '')
sys.exit(1 if report.has_errors() else 0)
";

#[test]
fn batch_requests_conform_to_the_service_model() {
    if !python_has("botocore") {
        return;
    }
    for (file, operation, key) in [
        ("job-definition.json", "RegisterJobDefinition", "\"attempts\""),
        ("job-definition.json", "RegisterJobDefinition", "\"resourceRequirements\""),
        ("submit-job.json", "SubmitJob", "\"size\""),
    ] {
        let text = read(&format!("aws-batch-array-job/{file}"));
        let output = python(BATCH, &[operation, &text]);
        assert!(output.status.success(), "{file}: {}", output_text(&output));
        let wrong = format!("{}x\"", key.trim_end_matches('"'));
        let output = python(BATCH, &[operation, &text.replacen(key, &wrong, 1)]);
        assert!(
            !output.status.success() && output_text(&output).contains(wrong.trim_matches('"')),
            "{key}: {}",
            output_text(&output)
        );
    }
}

/// Jobs are attempted once, and each parameter has a value.
#[test]
fn batch_never_retries_a_job() {
    let definition: serde_json::Value = serde_json::from_str(&read("aws-batch-array-job/job-definition.json")).unwrap();
    let submit: serde_json::Value = serde_json::from_str(&read("aws-batch-array-job/submit-job.json")).unwrap();
    for request in [&definition, &submit] {
        assert_eq!(request["retryStrategy"]["attempts"], 1);
    }
    assert_eq!(definition["jobDefinitionName"], submit["jobDefinition"]);
    for word in words(&definition["containerProperties"]["command"]) {
        if let Some(name) = word.strip_prefix("Ref::") {
            assert!(definition["parameters"][name].is_string(), "{name}");
        }
    }
}

#[test]
fn policy_covers_the_called_operations() {
    let policy: serde_json::Value = serde_json::from_str(&read("iam/policy.json")).unwrap();
    let actions: Vec<&str> = policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|statement| match &statement["Action"] {
            serde_json::Value::Array(actions) => actions.iter().map(|action| action.as_str().unwrap()).collect(),
            action => vec![action.as_str().unwrap()],
        })
        .collect();
    assert_eq!(
        actions,
        [
            "bedrock:InvokeModel",
            "bedrock:InvokeModelWithResponseStream",
            "s3:GetObject",
            "s3:PutObject",
            "s3:AbortMultipartUpload",
            "s3:ListBucket"
        ]
    );
    // A read has no prefix: with a condition on the prefix, reading a missing key would be denied.
    let list = &policy["Statement"][2]["Condition"];
    assert_eq!(list, &serde_json::json!({ "StringLikeIfExists": { "s3:prefix": "bedrock-plan/*" } }));
}

fn words(list: &serde_json::Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// Parses a command line with an unknown flag at its end. Since the first error is reported, the words before it are
/// valid if the message names this flag.
fn assert_parses(words: &[String]) {
    let dir = tempfile::tempdir().unwrap();
    // The scheduler replaces placeholders by values.
    let word = |word: &String| word.replace("Ref::exchange", "s3://b/p").replace("$(JOB_NAME)", "name");
    let mut words: Vec<String> = words.iter().map(word).collect();
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.insert(end, "--no-such-flag".into());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = command(dir.path(), &words).output().unwrap();
    let message = output_text(&output);
    assert!(message.contains("unexpected argument '--no-such-flag'"), "{words:?}: {message}");
}

#[test]
fn documented_commands_are_valid() {
    let definition: serde_json::Value = serde_json::from_str(&read("aws-batch-array-job/job-definition.json")).unwrap();
    assert_parses(&words(&definition["containerProperties"]["command"]));
    if python_has("yaml") {
        let output = python(JOB, &[&read("kubernetes-indexed-job/job.yaml")]);
        let job: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_parses(&words(&job["args"]));
    }
    let readme = read("README.md").replace("\\\n", " ");
    let commands: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("bedrock-plan ")).collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    for line in commands {
        assert_parses(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    }
}
