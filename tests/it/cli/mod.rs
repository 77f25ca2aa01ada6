//! What a plan is read from, what bad input gets, and what `show` and `--help` say.

mod forms;
mod input;
mod messages;
mod settings;
mod show;
mod workflow;
