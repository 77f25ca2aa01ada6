//! The simulated Bedrock runtime: a server of another house. It shares no wire structs with the
//! client, so that the SDK decoding what it sends means something. Knows units only.

mod model;

pub use model::Model;
