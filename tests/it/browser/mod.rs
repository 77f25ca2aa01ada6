//! Report pages in a real browser, loaded from `file://`.

mod chromium;
mod pages;
