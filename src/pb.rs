//! Messages, clients and servers of wire formats that no crate carries; generated from the files of `proto/`.

#[expect(missing_docs, unused_qualifications, reason = "generated code")]
pub mod certificate;
pub mod nds;
