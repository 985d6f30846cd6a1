//! Parsers for what is said about response fields.

use clap::builder::TypedValueParser;

use super::{ValueError, is_media_type, text};
use crate::settings::{Immutable, Origin, ResponseField, SecurityFields};
use crate::site::fields::Disposition;
use crate::site::fields::field::{FieldName, FieldValue};

/// A field of all answers.
pub(in crate::config) fn header() -> impl TypedValueParser<Value = ResponseField> {
    text(|text| Ok(ResponseField::of_line(text)?))
}

/// The name of a field.
pub(in crate::config) fn field_name() -> impl TypedValueParser<Value = FieldName> {
    text(|text| Ok(FieldName::new(text)?))
}

/// The value of a field.
pub(in crate::config) fn field_value() -> impl TypedValueParser<Value = FieldValue> {
    text(|text| Ok(FieldValue::new(text)?))
}

/// The value of Content-Type.
pub(in crate::config) fn content_type() -> impl TypedValueParser<Value = FieldValue> {
    text(|text| match is_media_type(text) {
        true => Ok(FieldValue::new(text)?),
        false => Err(ValueError::NotContentType),
    })
}

/// What browsers do with a file.
pub(in crate::config) fn disposition() -> impl TypedValueParser<Value = Disposition> {
    text(|text| match text {
        "attachment" => Ok(Disposition::Attachment),
        "inline" => Ok(Disposition::Inline),
        _ => Err(ValueError::NotDisposition),
    })
}

/// An origin, or all.
pub(in crate::config) fn origin() -> impl TypedValueParser<Value = Origin> {
    text(|text| Ok(Origin::parse(text)?))
}

/// Whether all answers have the fields against embedding.
pub(in crate::config) fn security_fields() -> impl TypedValueParser<Value = SecurityFields> {
    text(|text| match text {
        "on" => Ok(SecurityFields::On),
        "off" => Ok(SecurityFields::Off),
        _ => Err(ValueError::NotSwitch),
    })
}

/// Whether content-hashed names are immutable.
pub(in crate::config) fn immutable() -> impl TypedValueParser<Value = Immutable> {
    text(|text| match text {
        "on" => Ok(Immutable::Hashed),
        "off" => Ok(Immutable::Off),
        _ => Err(ValueError::NotSwitch),
    })
}
