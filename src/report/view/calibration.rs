//! A calibration as text: the sentence in the header of reports, and the output of `calibrate`.

use super::text;
use crate::record::manifest::Calibration;
use std::fmt::Write;

/// Returns the output of `calibrate`.
pub(crate) fn block(calibration: &Calibration) -> String {
    let mut text = format!("{}, {} requests", calibration.load, text::thousands(calibration.requests as f64, 0));
    if calibration.unmatched > 0 {
        let _ = write!(text, ", {} more known to one side only", calibration.unmatched);
    }
    text += "\n\nms               server   reported      error\n";
    for error in &calibration.percentiles {
        let name = format!("p{}", error.p);
        let _ = writeln!(
            text,
            "{name:<12} {:>10.3} {:>10.3} {:>+10.3}",
            error.server_ms,
            error.client_ms,
            error.error_ms()
        );
    }
    text += "\nms                  p50        p99        max\n";
    for (name, paired) in [("by request", Some(calibration.paired)), ("first token", calibration.ttft)] {
        if let Some(paired) = paired {
            let _ =
                writeln!(text, "{name:<12} {:>+10.3} {:>+10.3} {:>+10.3}", paired.p50_ms, paired.p99_ms, paired.max_ms);
        }
    }
    let _ = writeln!(text, "\n{}", sentence(calibration));
    text
}

/// Returns the sentence that states the measurement error of a run, for the header of its reports.
pub(crate) fn sentence(calibration: &Calibration) -> String {
    format!(
        "On this machine, at this load ({}), these numbers are off by at most {} ms at {}; request by request by {} ms at the median and {} ms at p99 ({} requests against a simulator in a process of its own).",
        calibration.load,
        text::ms(calibration.worst_ms()),
        calibration.percentiles.iter().map(|error| format!("p{}", error.p)).collect::<Vec<_>>().join(", "),
        text::ms(calibration.paired.p50_ms.abs()),
        text::ms(calibration.paired.p99_ms.abs()),
        text::thousands(calibration.requests as f64, 0)
    )
}
