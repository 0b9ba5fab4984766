//! Benchmarks of mizzen. `benches/` measures pure parts; [`load`] measures a server, [`admit`] its webhook.

pub mod admit;
pub mod load;
