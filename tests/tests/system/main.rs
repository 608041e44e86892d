//! The whole system through its front doors: processes, sockets, files, a browser.

mod first_run;
mod kills;
mod pair;
mod trouble;
