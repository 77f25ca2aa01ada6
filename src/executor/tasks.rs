//! Waiting for tasks. A panic of a task is a fault of this tool and is propagated.

use tokio::task::{JoinError, JoinSet};

/// Removes ended tasks and propagates their panics.
pub(super) fn reap_ended(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.try_join_next() {
        propagate_panic(ended);
    }
}

/// Waits until all tasks have ended.
pub(super) async fn join_all(tasks: &mut JoinSet<()>) {
    while join_next(tasks).await.is_some() {}
}

/// Returns the result of the next ended task.
pub(super) async fn join_next<T: 'static>(tasks: &mut JoinSet<T>) -> Option<T> {
    propagate_panic(tasks.join_next().await?)
}

/// Returns the result of a task and propagates its panic, which is a fault of this tool.
fn propagate_panic<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended {
        Ok(value) => Some(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}
