//! The pages in a real browser, from `file://`.

mod chromium;
mod pages;
