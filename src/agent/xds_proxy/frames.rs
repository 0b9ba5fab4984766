//! Whole messages of a gRPC stream, however its bytes are cut.

use bytes::{BufMut as _, Bytes, BytesMut};

/// A flag, and the length of the message.
const PREFIX: usize = 5;

/// Puts messages together.
#[derive(Debug, Default)]
pub(super) struct Frames {
    rest: BytesMut,
}

impl Frames {
    /// Takes bytes; `each` gets the messages that are whole now, with their prefixes.
    pub(super) fn push(&mut self, mut bytes: Bytes, mut each: impl FnMut(Bytes)) {
        if self.rest.is_empty() {
            // The usual case costs no copy.
            while let Some(length) = length(&bytes) {
                each(bytes.split_to(length));
            }
        }
        self.rest.extend_from_slice(&bytes);
        while let Some(length) = length(&self.rest) {
            each(self.rest.split_to(length).freeze());
        }
    }
}

/// The length of the first message, prefix included, if it is whole.
fn length(bytes: &[u8]) -> Option<usize> {
    let &[_, a, b, c, d, ..] = bytes else { return None };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?.checked_add(PREFIX)?;
    (length <= bytes.len()).then_some(length)
}

/// What a whole message holds, unless it is compressed.
pub(super) fn content(message: &Bytes) -> Option<&[u8]> {
    (message.first() == Some(&0)).then(|| message.get(PREFIX..)).flatten()
}

/// A message with its prefix.
pub(super) fn framed(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).expect("what the agent says is short"));
    message.encode_raw(&mut bytes);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &Bytes, at: usize) -> Vec<Bytes> {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for start in (0..bytes.len()).step_by(at) {
            frames.push(bytes.slice(start..bytes.len().min(start + at)), |message| found.push(message));
        }
        assert!(frames.rest.is_empty());
        found
    }

    #[test]
    fn messages_are_the_same_however_they_are_cut() {
        let messages = ["a".to_owned(), String::new(), "b".repeat(300)].map(|text| framed(&text));
        let all = Bytes::from(messages.concat());
        for at in [1, 2, 5, 6, 7, 100, all.len()] {
            assert_eq!(cut(&all, at), messages, "{at}");
        }
        assert_eq!(content(&messages[1]), Some(&b""[..]));
        assert_eq!(content(&Bytes::from_static(b"\x01\0\0\0\0")), None, "compressed");
    }
}
