//! A reader of protobuf, written from the description of its encoding; strict, and nothing of the encoder's.

/// What a field has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub fn varint(self) -> u64 {
        let Self::Varint(value) = self else { panic!("no varint: {self:?}") };
        value
    }

    pub fn fixed64(self) -> u64 {
        let Self::Fixed64(value) = self else { panic!("no fixed64: {self:?}") };
        value
    }

    pub fn bytes(self) -> &'a [u8] {
        let Self::Bytes(value) = self else { panic!("no bytes: {self:?}") };
        value
    }

    pub fn text(self) -> &'a str {
        std::str::from_utf8(self.bytes()).expect("UTF-8")
    }
}

/// The fields of a message, in their order.
pub struct Message<'a>(Vec<(u64, Field<'a>)>);

impl<'a> Message<'a> {
    pub fn read(bytes: &'a [u8]) -> Self {
        let (mut rest, mut fields) = (bytes, Vec::new());
        while !rest.is_empty() {
            let tag = varint(&mut rest);
            let field = match tag & 7 {
                0 => Field::Varint(varint(&mut rest)),
                1 => Field::Fixed64(fixed64(&mut rest)),
                2 => {
                    let length = usize::try_from(varint(&mut rest)).expect("a length");
                    assert!(length <= rest.len(), "{length} bytes of {}", rest.len());
                    let (bytes, after) = rest.split_at(length);
                    rest = after;
                    Field::Bytes(bytes)
                }
                other => panic!("nobody writes wire type {other}"),
            };
            assert_ne!(tag >> 3, 0, "no field has the number 0");
            fields.push((tag >> 3, field));
        }
        Self(fields)
    }

    /// Every value of a field.
    pub fn all(&self, number: u64) -> impl Iterator<Item = Field<'a>> {
        self.0.iter().filter(move |(known, _)| *known == number).map(|(_, field)| *field)
    }

    /// The value of a field that is there once at most.
    pub fn one(&self, number: u64) -> Option<Field<'a>> {
        let mut all = self.all(number);
        let one = all.next();
        assert_eq!(all.next(), None, "field {number} is there twice");
        one
    }

    /// The value of a field that has to be there.
    pub fn due(&self, number: u64) -> Field<'a> {
        self.one(number).unwrap_or_else(|| panic!("no field {number} in {:?}", self.0))
    }

    /// A text, empty if it is not there.
    pub fn text(&self, number: u64) -> &'a str {
        self.one(number).map(Field::text).unwrap_or_default()
    }

    /// Fails if there are fields besides these.
    pub fn only(&self, known: &[u64]) {
        let stranger = self.0.iter().find(|(number, _)| !known.contains(number));
        assert_eq!(stranger, None, "a field that is not of the message");
    }
}

/// A packed list of numbers of 64 bits.
pub fn packed(bytes: &[u8]) -> Vec<u64> {
    let mut rest = bytes;
    let mut all = Vec::new();
    while !rest.is_empty() {
        all.push(fixed64(&mut rest));
    }
    all
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value: u64 = 0;
    for shift in (0..70).step_by(7) {
        let (byte, after) = rest.split_first().expect("the end of a varint");
        *rest = after;
        assert!(shift < 63 || *byte <= 1, "a varint of more than 64 bits");
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a varint without an end")
}

fn fixed64(rest: &mut &[u8]) -> u64 {
    let (bytes, after) = rest.split_first_chunk().expect("eight bytes");
    *rest = after;
    u64::from_le_bytes(*bytes)
}
