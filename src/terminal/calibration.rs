//! A calibration as text. Pure.

use crate::record::manifest::Calibration;
use crate::report::view::text;
use std::fmt::Write;

/// What `calibrate` prints.
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
    let _ = writeln!(text, "\n{}", text::calibration(calibration));
    text
}
