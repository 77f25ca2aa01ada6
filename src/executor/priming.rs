//! Priming: requests that fill the prompt cache before the load of a cell run.

use super::context::CellContext;
use super::port::Stop;
use super::prepared::RequestNumber;
use crate::record::Phase;

/// Sends one request per prompt, one after the other. The first stop signal prevents further requests; the second one, which
/// must be the context's token for abandoning, abandons the current request.
pub(super) async fn prime(context: &CellContext, stop: &Stop) {
    for index in 0..context.prepared.priming_prompts().len() {
        if stop.drain.is_cancelled() || !context.wait_for_admission(|| context.gate.admit()).await {
            return;
        }
        let number = RequestNumber::Priming(index);
        let reply = context.send(number).await;
        let mut record = context.record_outside_load(index, Phase::Priming, reply);
        context.add_prompt(&mut record, number);
        context.emit_ended(record);
    }
}
