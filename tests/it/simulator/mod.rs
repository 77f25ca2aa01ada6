//! The simulator as other people's SDKs see it.

mod access;
mod clients;
mod faults;
mod others;
mod replies;
