//! One run on many machines: the job that is handed in, and what comes of it.

mod bucket;
mod cluster;
mod deploy;
mod directory;
mod faults;
mod machines;
mod slurm;
mod submit;
