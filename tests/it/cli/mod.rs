//! Sources of a plan, messages for invalid input, and the output of `show` and `--help`.

mod forms;
mod input;
mod messages;
mod settings;
mod show;
mod workflow;
