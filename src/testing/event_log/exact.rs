//! Finds what JSON would not give back as it was.
//!
//! JSON has no NaN and no infinity, and one `null` for everything that is nothing: `serde_json` writes `null` without a word for
//! all of them. An `Option<f64>` that was `Some(NAN)` would come back as `None`. So an event is looked through before it is written.

use serde::Serialize;
use serde::ser;
use std::fmt;

/// Whether `value`, written as JSON, can be read back as it is.
pub(super) fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), Inexact> {
    value.serialize(Exact).map(drop)
}

/// Why an event cannot be written.
#[derive(Debug)]
pub(super) struct Inexact(String);

/// Looks at every value, and writes nothing.
struct Exact;

/// Looks at the members of a collection.
struct Members;

/// What a value looks like in JSON, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Null,
    Other,
}

impl fmt::Display for Inexact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Inexact {}

impl ser::Error for Inexact {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

fn finite(value: f64) -> Result<Shape, Inexact> {
    if value.is_finite() {
        return Ok(Shape::Other);
    }
    Err(Inexact(format!("{value} has no form in JSON; leave it out, or write it as text")))
}

macro_rules! plain {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, _value: $type) -> Result<Shape, Inexact> {
            Ok(Shape::Other)
        }
    )*};
}

impl ser::Serializer for Exact {
    type Ok = Shape;
    type Error = Inexact;
    type SerializeSeq = Members;
    type SerializeTuple = Members;
    type SerializeTupleStruct = Members;
    type SerializeTupleVariant = Members;
    type SerializeMap = Members;
    type SerializeStruct = Members;
    type SerializeStructVariant = Members;

    plain!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8]
    );

    fn serialize_f32(self, value: f32) -> Result<Shape, Inexact> {
        finite(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<Shape, Inexact> {
        finite(value)
    }

    fn serialize_none(self) -> Result<Shape, Inexact> {
        Ok(Shape::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Shape, Inexact> {
        if value.serialize(Self)? == Shape::Null {
            let message = "`Some` of nothing is `null` in JSON, and would come back as `None`; use an enum";
            return Err(Inexact(message.to_owned()));
        }
        Ok(Shape::Other)
    }

    fn serialize_unit(self) -> Result<Shape, Inexact> {
        Ok(Shape::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Shape, Inexact> {
        Ok(Shape::Null)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
    ) -> Result<Shape, Inexact> {
        Ok(Shape::Other)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Shape, Inexact> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<Shape, Inexact> {
        value.serialize(self).map(|_| Shape::Other)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Members, Inexact> {
        Ok(Members)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Members, Inexact> {
        Ok(Members)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Members, Inexact> {
        Ok(Members)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Members, Inexact> {
        Ok(Members)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Members, Inexact> {
        Ok(Members)
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Members, Inexact> {
        Ok(Members)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Members, Inexact> {
        Ok(Members)
    }
}

macro_rules! members {
    ($($collection:ident: $method:ident($($key:ty)?)),*) => {$(
        impl ser::$collection for Members {
            type Ok = Shape;
            type Error = Inexact;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_key: $key,)? value: &T) -> Result<(), Inexact> {
                check(value)
            }

            fn end(self) -> Result<Shape, Inexact> {
                Ok(Shape::Other)
            }
        }
    )*};
}

members!(
    SerializeSeq: serialize_element(),
    SerializeTuple: serialize_element(),
    SerializeTupleStruct: serialize_field(),
    SerializeTupleVariant: serialize_field(),
    SerializeStruct: serialize_field(&'static str),
    SerializeStructVariant: serialize_field(&'static str)
);

impl ser::SerializeMap for Members {
    type Ok = Shape;
    type Error = Inexact;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Inexact> {
        check(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Inexact> {
        check(value)
    }

    fn end(self) -> Result<Shape, Inexact> {
        Ok(Shape::Other)
    }
}
