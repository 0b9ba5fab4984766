//! The engine as it runs: its own thread, real objects, real translation, proxies of several classes.

mod bounded;
mod counts;
mod entries;
mod fair;
mod idle;
mod names;
mod objects;
mod pause;
mod reach;
mod world;
