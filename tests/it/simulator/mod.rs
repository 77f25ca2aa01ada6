//! The simulator, tested with SDKs and plain HTTP clients.

mod access;
mod clients;
mod faults;
mod others;
mod replies;
