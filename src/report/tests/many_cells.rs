//! Runs of many cells: pictures of a bounded size, and no work that grows with the square of the cells.

use super::{FORMATS, built_in, manifest, records, view_of};
use crate::matrix::{expand, order::execution_order};
use crate::record::manifest::{CellRunEnd, Manifest, PlannedCell};
use crate::report::view::{View, build};
use crate::report::{Rendered, ReportError, chart_files, charts};
use crate::stats::{Collector, Summary};
use crate::verdict::slo::evaluate;
use std::time::Duration;

/// Builds a run that was killed before its first request: three tiers at one load, with a number of models and of limits.
fn unsent(models: usize, limits: u32) -> Manifest {
    let mut manifest = manifest();
    let matrix = &mut manifest.plan.matrix;
    matrix.model_ids = (0..models).map(|model| format!("amazon.nova-x{model}-v1:0")).collect();
    matrix.service_tiers = ["default", "priority", "flex"].map(str::to_owned).to_vec();
    matrix.max_tokens = (1..=limits).collect();
    matrix.user_counts = vec![2];
    let cells = expand(&manifest.plan);
    manifest.order = execution_order(&cells, &manifest.plan.load, 1);
    manifest.cells = cells.into_iter().map(|cell| PlannedCell { cell, cell_hash: "0".into() }).collect();
    manifest.planned_runs.clear();
    manifest.ended_ms = None;
    manifest
}

/// Width and height of a PNG, pixels.
fn size(png: &[u8]) -> (u64, u64) {
    let number = |at: usize| u64::from(u32::from_be_bytes(png[at..at + 4].try_into().unwrap()));
    (number(16), number(20))
}

#[test]
fn picture_has_at_most_24_panels_and_20_megapixels() {
    let manifest = unsent(10, 4);
    let view = view_of(&manifest, &[]);
    let files: Vec<Rendered> = FORMATS.iter().flat_map(|format| format(&view, &built_in()).unwrap()).collect();
    let find = |name: &str| files.iter().find(|file| file.path.to_str() == Some(name));
    let pictures: Vec<&Rendered> =
        files.iter().filter(|file| file.path.extension().is_some_and(|end| end == "png")).collect();
    assert!(pictures.len() > view.charts.len(), "some chart has several pictures");
    for picture in &pictures {
        let (width, height) = size(&picture.bytes);
        assert!(width * height <= 20_000_000, "{} has {width} x {height} pixels", picture.path.display());
    }
    // 40 contexts: a panel each.
    let svg = |name: &str| String::from_utf8(find(name).unwrap_or_else(|| panic!("no {name}")).bytes.clone()).unwrap();
    let panels = |name: &str| svg(name).matches(">percentile</text>").count();
    assert_eq!([panels("charts/percentiles.svg"), panels("charts/percentiles_2.svg")], [24, 16]);
    assert!(find("charts/percentiles_3.svg").is_none() && find("charts/percentiles_2.png").is_some());
    assert!(svg("charts/percentiles_2.svg").contains("(2 of 2)"));
    // The page shows the first picture, and links the others.
    let page = svg("report.html").replace("&#x2f;", "/");
    assert!(page.contains("<a href=\"charts/percentiles_2.svg\">25 to 40</a>"));
    assert!(page.matches(">percentile</text>").count() == 24);
    let ids = manifest.cells.iter().map(|planned| planned.cell.id.as_str());
    let own = crate::record::owned::report_files(manifest.started_ms, ids);
    let foreign: Vec<_> =
        files.iter().filter(|file| !own.iter().any(|name| file.path == std::path::Path::new(name))).collect();
    assert!(foreign.is_empty(), "{:?}", foreign.iter().map(|file| &file.path).collect::<Vec<_>>());
}

/// 2,400 cells took minutes to hours when every title, context and report was looked for among all cells.
#[test]
fn view_of_many_cells_takes_seconds() {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let view = view_of(&unsent(800, 1), &[]);
        done.send(view.cells.len()).unwrap();
    });
    assert_eq!(finished.recv_timeout(Duration::from_secs(60)), Ok(2_400));
}

#[test]
fn failed_picture_does_not_prevent_others() {
    let view = view_of(&manifest(), &super::records());
    let broken = |figure: &charts::Figure, picture: usize| match figure.title.as_str() {
        "Throughput" => Err(charts::ChartError::no_size(0.0, 10.0)),
        _ => charts::png(figure, picture),
    };
    let names = |files: &[Rendered]| files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    let all = names(&chart_files::render(&view, &built_in()).unwrap());
    let Err(ReportError::Pictures { drawn, failed }) = chart_files::draw(&view, broken) else { panic!("one failed") };
    assert_eq!(failed, ["charts/throughput_comparison.png: 0 x 10 is no size of a picture"]);
    let expected: Vec<_> = all.into_iter().filter(|path| !path.ends_with("throughput_comparison.png")).collect();
    assert_eq!(names(&drawn), expected);
}

/// Reports of earlier attempts do not count, and are found by cell and repetition.
#[test]
fn the_last_attempt_of_every_cell_run_counts() {
    let mut manifest = manifest();
    let mut again = manifest.planned_runs[1].clone();
    (again.attempt, again.requests, manifest.order[1].attempt) = (2, 7, 2);
    manifest.planned_runs.push(again);
    let reports = manifest.last_reports();
    let id = |index: usize| manifest.cells[index].cell.id.as_str();
    let requests = |index: usize| reports.of_cell(id(index)).iter().map(|report| report.requests).collect::<Vec<_>>();
    assert_eq!([requests(0), requests(1), requests(2), requests(3)], [vec![40], vec![7], vec![5], vec![]]);
    assert_eq!(reports.get(id(1), 1).map(|report| report.requests), Some(7));
    assert!(reports.get(id(1), 2).is_none() && reports.get("other", 1).is_none());
    assert_eq!(reports.iter().map(|report| report.requests).collect::<Vec<_>>(), [40, 5, 7]);
    assert!(manifest.has_unfinished(), "the last cell never ran");
    assert_eq!(reports.of_cell(id(2))[0].end, CellRunEnd::Aborted);
}

/// One context with more loads and prompts than a panel has room for.
#[test]
fn too_large_panel_is_cut() {
    let mut manifest = unsent(1, 1);
    manifest.plan.matrix.user_counts = (1..=100).collect();
    manifest.plan.matrix.prompt_sizes = (0..40).map(|prompt| format!("p{prompt}")).collect();
    let cells: Vec<_> =
        expand(&manifest.plan).into_iter().filter(|cell| cell.prompt_size == "p0" || cell.users == Some(1)).collect();
    manifest.order = execution_order(&cells, &manifest.plan.load, 1);
    manifest.cells = cells.into_iter().map(|cell| PlannedCell { cell, cell_hash: "0".into() }).collect();
    let view: View = view_of(&manifest, &[]);
    let figure = |stem: &str| &view.charts.iter().find(|(known, _)| *known == stem).unwrap().1;
    let charts::Body::Bars(throughput) = &figure("throughput_comparison").body else { panic!("bars") };
    let titles: Vec<&str> = throughput.panels.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(titles, ["1 of 5", "2 of 5", "3 of 5", "4 of 5", "5 of 5"]);
    assert_eq!(throughput.panels.iter().map(|panel| panel.groups.len()).sum::<usize>(), 100);
    let charts::Body::Heat(heat) = &figure("latency_heatmap").body else { panic!("a heat map") };
    assert_eq!(heat.panels.iter().map(|panel| panel.columns.len()).collect::<Vec<_>>(), [16, 16, 8]);
    assert_eq!(heat.panels.iter().map(|panel| panel.squares.len()).sum::<usize>(), 120);
    assert!(heat.panels.iter().all(|panel| {
        panel.squares.iter().all(|(row, column, _)| *row < panel.rows.len() && *column < panel.columns.len())
    }));
}

/// Renders a run whose samples do not fit into memory: they are dropped cell by cell, and read again where a cell
/// appears later once more.
#[test]
fn numbers_do_not_depend_on_the_samples_that_fit_into_memory() {
    let rendered = |manifest: &Manifest, summary: &Summary| {
        let view = build(manifest, summary, &evaluate(manifest, summary));
        FORMATS.iter().flat_map(|format| format(&view, &built_in()).unwrap()).collect::<Vec<Rendered>>()
    };
    let manifest = manifest();
    let killed = Manifest { ended_ms: None, planned_runs: manifest.planned_runs[..1].to_vec(), ..manifest.clone() };
    let in_order = records();
    let mut mixed = in_order.clone();
    mixed.sort_by_key(|(cell, record)| (record.seq, *cell));
    for (manifest, records, read_again) in
        [(&manifest, &in_order, false), (&manifest, &mixed, true), (&killed, &in_order, true), (&killed, &mixed, true)]
    {
        let mut collector = Collector::new(manifest).with_limit(7);
        let mut most = 0;
        for (cell, record) in records {
            collector.add(*cell, record);
            most = most.max(collector.live_samples());
        }
        assert!(most < records.len(), "{most} of {}", records.len());
        let mut reads = 0;
        let summary = collector.finish(|wanted, add| {
            reads += 1;
            records.iter().filter(|(cell, _)| *cell == wanted).for_each(|(_, record)| add(record));
            Ok::<(), std::convert::Infallible>(())
        });
        assert_eq!(reads > 0, read_again, "{reads} cells were read again");
        let mut whole = Collector::new(manifest);
        for (cell, record) in records {
            whole.add(*cell, record);
        }
        assert_eq!(rendered(manifest, &summary.unwrap()), rendered(manifest, &whole.finish_in_memory()));
    }
}
