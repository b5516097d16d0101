//! Protobuf's wire format, as far as metrics need it: <https://protobuf.dev/programming-guides/encoding/>.
//!
//! Fields are written in the order in which they are asked for; defaults are written, too, unless the caller leaves them out.

/// Appends fields to a buffer.
pub(super) struct Wire<'a>(&'a mut Vec<u8>);

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;

impl<'a> Wire<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    pub(super) fn uint64(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        varint(self.0, value);
    }

    pub(super) fn bool(&mut self, field: u32, value: bool) {
        self.uint64(field, u64::from(value));
    }

    /// A small signed integer, in zigzag.
    pub(super) fn sint32(&mut self, field: u32, value: i32) {
        self.uint64(field, zigzag(value));
    }

    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn sfixed64(&mut self, field: u32, value: i64) {
        self.fixed64(field, value as u64);
    }

    pub(super) fn double(&mut self, field: u32, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, LENGTH);
        varint(self.0, value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(super) fn string(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A message in the message, or any packed list: whatever `write` appends.
    pub(super) fn nested(&mut self, field: u32, write: impl FnOnce(&mut Wire<'_>)) {
        self.tag(field, LENGTH);
        self.delimited(write);
    }

    /// A message behind its length.
    pub(super) fn delimited(&mut self, write: impl FnOnce(&mut Wire<'_>)) {
        let start = self.0.len();
        write(&mut Wire(self.0));
        let length = (self.0.len() - start) as u64;
        // Its length is known now, and stands before it.
        let at = self.0.len();
        varint(self.0, length);
        let digits = self.0.len() - at;
        self.0[start..].rotate_right(digits);
    }

    pub(super) fn packed_doubles(&mut self, field: u32, values: impl IntoIterator<Item = f64>) {
        self.nested(field, |list| {
            values.into_iter().for_each(|value| list.0.extend_from_slice(&value.to_le_bytes()))
        });
    }

    pub(super) fn packed_fixed64(&mut self, field: u32, values: impl IntoIterator<Item = u64>) {
        self.nested(field, |list| {
            values.into_iter().for_each(|value| list.0.extend_from_slice(&value.to_le_bytes()))
        });
    }

    pub(super) fn packed_uint64(&mut self, field: u32, values: impl IntoIterator<Item = u64>) {
        self.nested(field, |list| values.into_iter().for_each(|value| varint(list.0, value)));
    }

    pub(super) fn packed_sint64(&mut self, field: u32, values: impl IntoIterator<Item = i64>) {
        self.packed_uint64(field, values.into_iter().map(|value| ((value << 1) ^ (value >> 63)) as u64));
    }

    /// What was encoded before.
    pub(super) fn raw(&mut self, encoded: &[u8]) {
        self.0.extend_from_slice(encoded);
    }

    fn tag(&mut self, field: u32, kind: u32) {
        varint(self.0, u64::from(field << 3 | kind));
    }
}

const fn zigzag(value: i32) -> u64 {
    ((value << 1) ^ (value >> 31)) as u32 as u64
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field of a message that is read: for answers, which are small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of a kind that nobody asks for.
    Other,
}

/// The fields of a message with their numbers, in their order; ends at the first that is broken, with an error.
pub(super) fn fields(mut message: &[u8]) -> impl Iterator<Item = Result<(u64, Field<'_>), Broken>> {
    let mut broken = false;
    std::iter::from_fn(move || {
        if broken || message.is_empty() {
            return None;
        }
        let read = read_field(&mut message);
        broken = read.is_none();
        Some(read.ok_or(Broken))
    })
}

/// A message that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

fn read_field<'a>(message: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let tag = read_varint(message)?;
    let field = match tag & 7 {
        0 => Field::Varint(read_varint(message)?),
        1 => take(message, 8).map(|_| Field::Other)?,
        2 => {
            let length = usize::try_from(read_varint(message)?).ok()?;
            Field::Bytes(take(message, length)?)
        }
        5 => take(message, 4).map(|_| Field::Other)?,
        _ => return None,
    };
    (tag >> 3 > 0).then_some((tag >> 3, field))
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let byte = take(message, 1)?[0];
        value |= u64::from(byte & 0x7f).checked_shl(7 * at)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Wire<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Wire::new(&mut out));
        out
    }

    /// The examples of the format's own documentation.
    #[test]
    fn the_examples_of_the_documentation_are_written_so() {
        assert_eq!(written(|w| w.uint64(1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(written(|w| w.string(2, "testing")), *b"\x12\x07testing");
        assert_eq!(written(|w| w.nested(3, |w| w.uint64(1, 150))), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(written(|w| w.packed_uint64(6, [3, 270, 86942])), [0x32, 6, 3, 0x8e, 2, 0x9e, 0xa7, 5]);
        let zigzags = [0, -1, 1, -2, i32::MAX, i32::MIN].map(zigzag);
        assert_eq!(zigzags, [0, 1, 2, 3, 4_294_967_294, 4_294_967_295]);
        let longest = written(|w| w.packed_sint64(1, [-2, i64::MIN]));
        assert_eq!(longest, [0x0a, 11, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }

    #[test]
    fn a_long_message_in_a_message_has_its_length_before_it() {
        let text = "x".repeat(20_000);
        let long = written(|w| w.nested(1, |w| w.nested(2, |w| w.string(3, &text))));
        let inner = |message: &[u8], number| match fields(message).next() {
            Some(Ok((found, Field::Bytes(bytes)))) if found == number => bytes.to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(inner(&inner(&inner(&long, 1), 2), 3), text.as_bytes());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(number in any::<u64>(), bytes in proptest::collection::vec(any::<u8>(), 0..300), field in 1..1_000_u32) {
            let message = written(|w| {
                w.uint64(field, number);
                w.double(field, 0.5);
                w.bytes(field, &bytes);
            });
            let read: Result<Vec<_>, _> = fields(&message).collect();
            let field = u64::from(field);
            prop_assert_eq!(read, Ok(vec![(field, Field::Varint(number)), (field, Field::Other), (field, Field::Bytes(&bytes))]));
        }

        #[test]
        fn any_bytes_end_in_fields_or_in_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(fields(&bytes).count() <= bytes.len());
            prop_assert!(fields(&bytes).filter(Result::is_err).count() <= 1);
        }
    }
}
