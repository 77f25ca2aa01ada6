//! `run` and `report` from the outside: the binary, real sockets, the files it leaves.

mod ends;
mod files;
mod nothing_lost;
mod scene;
mod tls;
mod wire;
