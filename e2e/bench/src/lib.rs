//! Benchmarks of mizzen. `benches/` measures pure parts; [`load`] measures a server.

pub mod load;
