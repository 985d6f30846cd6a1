//! What access logs say.
