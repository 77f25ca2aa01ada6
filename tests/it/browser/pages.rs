//! Reports in a browser: widths, colour schemes, print, sorting, filters, tooltips; and that no page sends a request.

use super::chromium::Chromium;
use crate::support::command;
use serde_json::json;
use std::path::Path;
use std::process::Stdio;

/// Two tiers at two loads, with streams, failures, thresholds, and texts that contain markup.
const PLAN: &str = r#"
name = "<img src=x onerror=hacked()>"
description = "\"><script>hacked()</script> \u202e right to left"
[target]
endpoint = "simulated"
api = "converse-stream"
[matrix]
model_ids = ["amazon.nova-2-lite-v1:0"]
service_tiers = ["default", "flex"]
prompt_sizes = ["small"]
user_counts = [2, 4]
[load]
test_duration = "1s"
spawn_rate = 100
think_time = "0s"
cool_down = "0s"
seed = 7
[request]
max_tokens = 16
[[slo]]
name = "<b>fast</b>"
p95 = "60ms"
failure_rate = "50%"
[simulator]
ttft = "20ms"
tpot = "1ms"
[simulator.faults]
throttling = 0.1
service_unavailable = 0.05
"#;

fn run(dir: &Path) {
    std::fs::write(dir.join("plan.toml"), PLAN).unwrap();
    let output = command(dir, &["run", "plan.toml", "--yes", "--results-dir", "results"]).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 99)), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the elements that are wider than the window; elements inside a scrolling container are exempt.
const OVERFLOWING: &str = r"(() => {
    document.querySelectorAll('details').forEach((details) => { details.open = true; });
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth) return [`the page: ${root.scrollWidth} > ${root.clientWidth}`];
    const scrolls = (at) => at && (/auto|scroll|hidden/.test(getComputedStyle(at).overflowX) || scrolls(at.parentElement));
    return [...document.querySelectorAll('main *')]
        .filter((at) => at.getBoundingClientRect().right > root.clientWidth + 1 && !at.closest('svg') && !scrolls(at.parentElement))
        .map((at) => `${at.tagName}: ${at.textContent.slice(0, 60)}`);
})()";

#[test]
fn pages_have_no_errors_and_fit_each_width_and_colour_scheme() {
    let Some(mut browser) = Chromium::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    run(dir.path());
    let results = dir.path().join("results");
    for name in ["report.html", "test_us_default_small_u2_report.html", "test_us_flex_small_u4_report.html"] {
        let mut looks = Vec::new();
        for (width, scheme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")] {
            browser.open(&results.join(name), width, scheme);
            assert_eq!(browser.evaluate(OVERFLOWING), json!([]), "{name} at {width}, {scheme}");
            let look =
                "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor].join()";
            looks.push(browser.evaluate(look).to_string());
            assert_eq!(browser.unexpected_events(), Vec::<String>::new(), "{name} at {width}, {scheme}");
            assert_eq!(browser.evaluate("document.querySelectorAll('main script, main img').length"), json!(0));
        }
        assert!(looks[0] != looks[1] && looks[0] == looks[2] && looks[1] == looks[3], "{looks:?}");
    }
}

/// Repeats an action until an expression has an accepted value. Returns the value.
fn repeat_until(
    browser: &mut Chromium,
    expression: &str,
    wanted: impl Fn(&str) -> bool,
    act: impl Fn(&mut Chromium),
) -> String {
    let mut try_once = || {
        act(browser);
        let text = browser.evaluate(expression).as_str().unwrap().to_owned();
        wanted(&text).then_some(text)
    };
    (0..200).find_map(|_| try_once()).unwrap_or_else(|| panic!("{expression} never has an accepted value"))
}

/// The script ignores an invalid fragment, and tables can be sorted.
#[test]
fn invalid_fragment_encoding_does_not_stop_the_script() {
    let Some(mut browser) = Chromium::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    run(dir.path());
    let page = dir.path().join("results/report.html");
    browser.open(&page, 1280, "light");
    let address = json!({ "url": format!("file://{}#%zz", page.display()) });
    browser.call("Page.navigate", &address);
    repeat_until(&mut browser, "location.hash + document.readyState", |text| text == "#%zzcomplete", |_| ());
    browser.evaluate("dispatchEvent(new Event('hashchange'))");
    assert_eq!(browser.unexpected_events(), Vec::<String>::new());
    browser.call("Page.reload", &json!({}));
    let sorts = "String(document.readyState === 'complete' && document.querySelectorAll('th button').length > 0)";
    repeat_until(&mut browser, sorts, |text| text == "true", |_| ());
    assert_eq!(browser.unexpected_events(), Vec::<String>::new());
}

#[test]
fn charts_have_points_with_tooltips() {
    let Some(mut browser) = Chromium::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    run(dir.path());
    browser.open(&dir.path().join("results/report.html"), 1280, "light");
    // Figures without a point, or with an empty tooltip.
    let without_tooltip = r"[...document.querySelectorAll('figure')].filter((figure) => {
        const marks = [...figure.querySelectorAll('.marks rect')];
        return !marks.length || marks.some((mark) => !mark.querySelector('title').textContent.trim());
    }).map((figure) => figure.id)";
    assert_eq!(browser.evaluate(without_tooltip), json!([]));
    // The comparison of tiers is missing if this machine was too slow.
    let stems = "[...document.querySelectorAll('figure')].map((figure) => figure.id.slice(6)).filter((stem) => stem !== 'tiers_against_default').sort().join(' ')";
    assert_eq!(
        browser.evaluate(stems),
        json!(
            "avg_latency_by_config cost_and_latency first_token latency_by_load latency_by_prompt_size latency_heatmap \
               output_tokens p50_p95_comparison percentiles throughput_comparison timeline"
        )
    );
    // Every panel contains shapes within its borders.
    let empty = r"(() => {
        document.querySelectorAll('details').forEach((details) => { details.open = true; });
        return [...document.querySelectorAll('.panels svg')].filter((svg) => {
            const box = svg.getBoundingClientRect();
            const inside = [...svg.querySelectorAll('rect, path, circle')].filter((at) => {
                const own = at.getBoundingClientRect();
                return own.right <= box.right + 2 && own.left >= box.left - 2 && own.bottom <= box.bottom + 2;
            });
            return inside.length < 3;
        }).map((svg) => svg.getAttribute('aria-label'));
    })()";
    assert_eq!(browser.evaluate(empty), json!([]));

    // The pointer over a point, then the arrow keys.
    let place = r"(() => {
        const mark = document.querySelector('#chart-latency_by_load .marks rect');
        mark.scrollIntoView({ block: 'center' });
        const at = mark.getBoundingClientRect();
        return [at.left + at.width / 2, at.top + at.height / 2];
    })()";
    let tip = "(() => { const tip = document.getElementById('tip'); return tip.hidden ? '' : tip.textContent; })()";
    // A busy browser may handle the event late, so it is repeated until the tooltip is shown.
    let first = repeat_until(
        &mut browser,
        tip,
        |text| !text.is_empty(),
        |browser| {
            let at = browser.evaluate(place);
            browser.call("Input.dispatchMouseEvent", &json!({ "type": "mouseMoved", "x": at[0], "y": at[1] }));
        },
    );
    repeat_until(&mut browser, tip, str::is_empty, |browser| {
        browser.call("Input.dispatchMouseEvent", &json!({ "type": "mouseMoved", "x": 1, "y": 1 }));
    });
    browser.evaluate("document.querySelector('#chart-latency_by_load svg[tabindex]').focus()");
    let is_another = |text: &str| !text.is_empty() && text != first;
    repeat_until(&mut browser, tip, is_another, |browser| {
        let key = json!({ "type": "keyDown", "key": "ArrowRight", "code": "ArrowRight" });
        browser.call("Input.dispatchKeyEvent", &key);
    });

    // A click on a name in the legend hides its series, a second click shows it.
    let gone = "[...document.querySelectorAll('#chart-percentiles .z1')].filter((at) => getComputedStyle(at).display === 'none').length";
    let click = "document.querySelectorAll('#chart-percentiles .legend button')[1].click()";
    assert_eq!(browser.evaluate(gone), json!(0));
    browser.evaluate(click);
    assert_ne!(browser.evaluate(gone), json!(0));
    browser.evaluate(click);
    assert_eq!(browser.evaluate(gone), json!(0));
    assert_eq!(browser.unexpected_events(), Vec::<String>::new());
}

#[test]
fn tables_sort_and_filter_and_links_open_sections() {
    let Some(mut browser) = Chromium::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    run(dir.path());
    browser.open(&dir.path().join("results/report.html"), 1280, "light");
    let ids = r"[...document.querySelectorAll('#matrix-table tbody tr')].filter((row) => !row.hidden).map((row) => row.id.slice(5))";
    let all = browser.evaluate(ids);
    assert_eq!(all.as_array().unwrap().len(), 4);

    let filter = |words: &str| {
        format!(
            "(() => {{ const at = document.querySelector('[data-for=matrix-table] input'); at.value = '{words}'; at.dispatchEvent(new Event('input')); }})()"
        )
    };
    browser.evaluate(&filter("FLEX u4"));
    assert_eq!(browser.evaluate(ids), json!(["us_flex_small_u4"]));
    assert_eq!(
        browser.evaluate("document.querySelector('[data-for=matrix-table] output').textContent"),
        json!("1 of 4")
    );
    browser.evaluate(&filter(""));
    assert_eq!(browser.evaluate(ids), all);

    let sort = |label: &str| {
        format!(
            "[...document.querySelectorAll('#matrix-table thead button')].find((at) => at.textContent === '{label}').click()"
        )
    };
    let column = |label: &str| {
        format!(
            "(() => {{ const at = [...document.querySelectorAll('#matrix-table thead th')].findIndex((at) => at.textContent === '{label}');
             return [...document.querySelectorAll('#matrix-table tbody tr')].map((row) => Number(row.cells[at].dataset.v)); }})()"
        )
    };
    let numbers = |value: serde_json::Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let label = "p50, ms";
    browser.evaluate(&sort(label));
    let up = numbers(browser.evaluate(&column(label)));
    assert!(up.is_sorted() && up.len() == 4, "{up:?}");
    browser.evaluate(&sort(label));
    let down = numbers(browser.evaluate(&column(label)));
    assert!(down.iter().rev().is_sorted(), "{down:?}");
    let sort_order = "document.querySelector('#matrix-table th[aria-sort]').getAttribute('aria-sort')";
    assert_eq!(browser.evaluate(sort_order), json!("descending"));

    let open = "document.getElementById('matrix').open";
    assert_eq!(browser.evaluate(open), json!(false), "the first sight is one screen");
    browser.evaluate("document.querySelector('.grid td a').click()");
    assert_eq!(browser.evaluate("location.hash.startsWith('#cell-')"), json!(true));
    // The event of a new fragment is dispatched in the next iteration of the page's event loop.
    browser.call(
        "Runtime.evaluate",
        &json!({ "expression": "new Promise((done) => setTimeout(done))", "awaitPromise": true }),
    );
    assert_eq!(browser.evaluate(open), json!(true));
    assert_eq!(browser.unexpected_events(), Vec::<String>::new());
}

#[test]
fn report_is_complete_without_scripts_and_in_print() {
    let Some(mut browser) = Chromium::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    run(dir.path());
    browser.call("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    browser.open(&dir.path().join("results/report.html"), 1280, "light");
    assert_eq!(browser.evaluate("document.querySelectorAll('button').length"), json!(0), "the script did not run");
    let height = "document.getElementById('matrix-table').getBoundingClientRect().height";
    let tools = "document.querySelector('.tools').getBoundingClientRect().height";
    assert_eq!(browser.evaluate(tools), json!(0), "what does nothing is not shown");
    let titles = "document.querySelectorAll('.marks title').length > 50";
    assert_eq!(browser.evaluate(titles), json!(true));
    browser.call("Emulation.setEmulatedMedia", &json!({ "media": "print" }));
    assert!(browser.evaluate(height).as_f64().unwrap() > 50.0, "paper cannot be unfolded");
}

#[test]
fn cell_page_draws_charts_and_sorts_tables() {
    let Some(mut browser) = Chromium::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    run(dir.path());
    browser.open(&dir.path().join("results/test_us_flex_small_u4_report.html"), 1280, "dark");
    let stems = "[...document.querySelectorAll('figure')].map((figure) => figure.id.slice(6)).sort().join(' ')";
    assert_eq!(browser.evaluate(stems), json!("curves distribution lag requests times users"));
    let without_tooltip = r"[...document.querySelectorAll('figure')].filter((figure) => {
        const marks = [...figure.querySelectorAll('.marks rect')];
        return !marks.length || marks.some((mark) => !mark.querySelector('title').textContent.trim());
    }).map((figure) => figure.id)";
    assert_eq!(browser.evaluate(without_tooltip), json!([]));
    let rows = "[...document.querySelectorAll('#slowest tbody tr')].map((row) => Number(row.cells[0].dataset.v))";
    let slowest = browser.evaluate(rows);
    assert_eq!(slowest.as_array().unwrap().len(), 10);
    browser.evaluate("document.querySelector('#slowest thead button').click()");
    let mut turned = browser.evaluate(rows);
    assert_ne!(turned, slowest, "a heading sorts");
    turned.as_array_mut().unwrap().reverse();
    assert_eq!(turned, slowest);
    assert_eq!(browser.unexpected_events(), Vec::<String>::new());
}

#[test]
fn table_of_machines_fits_a_narrow_window() {
    let Some(mut browser) = Chromium::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plan.toml"), PLAN).unwrap();
    let url = format!("file://{}", dir.path().join("exchange").display());
    std::fs::create_dir(dir.path().join("exchange")).unwrap();
    let start = |shard: &str| {
        let arguments = ["run", "plan.toml", "--yes", "--results-dir", "shards", "--exchange", &url, "--shard", shard];
        command(dir.path(), &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let shards = ["0/2", "1/2"].map(start);
    for mut shard in shards {
        assert!(shard.wait().unwrap().success());
    }
    let output = command(dir.path(), &["merge", &url, "--to", "results"]).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 99)), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = "[...document.querySelectorAll('tbody tr')].filter((row) => row.closest('#machines') || /^Each machine/.test(row.closest('.scroll').previousElementSibling?.textContent)).length";
    for name in ["report.html", "test_us_default_small_u2_report.html"] {
        for (width, scheme) in [(1280, "dark"), (390, "light")] {
            browser.open(&dir.path().join("results").join(name), width, scheme);
            assert_eq!(browser.evaluate(OVERFLOWING), json!([]), "{name} at {width}, {scheme}");
            assert_eq!(browser.evaluate(rows), json!(2), "{name}");
            assert_eq!(browser.unexpected_events(), Vec::<String>::new(), "{name} at {width}, {scheme}");
        }
    }
}
