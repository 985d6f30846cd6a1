//! The flags for response fields of all answers; those by path are rules of the configuration file.

use clap::Args;

use super::SERVE;
use crate::config::value::{header, immutable, origin, security_fields};
use crate::settings::{
    AllowedOrigins, FieldRules, Immutable, Origin, ResponseField, SecurityFields,
};

// No doc comment: clap would take it for that of the program.
#[derive(Debug, Args)]
pub(in crate::config) struct FieldArgs {
    /// Response field of all answers, repeatable: 'NAME: VALUE'.
    ///
    /// Errors, redirects and listings have it too. Fields by path are rules of a site in the
    /// configuration file. A field that the server has to set itself (Content-Length, ETag, Vary
    /// …) is refused. Repeat the option for several fields.
    #[arg(long, value_name = "FIELD", env = "SPEDE_HEADER", help_heading = SERVE)]
    #[arg(value_parser = header())]
    pub(in crate::config) header: Vec<ResponseField>,

    /// Fields against embedding and leaking addresses: on or off.
    ///
    /// Referrer-Policy: strict-origin-when-cross-origin, Content-Security-Policy: frame-ancestors
    /// 'self' and X-Frame-Options: SAMEORIGIN in all answers. --header and rules override them.
    /// X-Content-Type-Options: nosniff is always sent.
    #[arg(long, value_name = "off|on", env = "SPEDE_SECURITY_FIELDS", help_heading = SERVE)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    #[arg(value_parser = security_fields(), default_value = "off")]
    pub(in crate::config) security_fields: SecurityFields,

    /// Origin whose scripts may read all answers, repeatable; * for all.
    ///
    /// For example https://app.example.org. Answers have Access-Control-Allow-Origin, preflight
    /// requests are answered with 204. Credentials are never allowed. For several origins repeat
    /// the option or use commas.
    // In the help it is no link.
    #[allow(rustdoc::bare_urls)]
    #[arg(long, value_name = "ORIGIN", env = "SPEDE_CORS", help_heading = SERVE)]
    #[arg(value_parser = origin(), value_delimiter = ',')]
    pub(in crate::config) cors: Vec<Origin>,

    /// Content-hashed names: declared immutable, on or off.
    ///
    /// Files such as app.3f9a1c2b.js or index-BQx3k9Zf.css get Cache-Control: public,
    /// max-age=31536000, immutable. Only scripts, style sheets, fonts and images with the hashes
    /// of usual bundlers count. Rules override it.
    #[arg(long, value_name = "on|off", env = "SPEDE_IMMUTABLE", help_heading = SERVE)]
    #[arg(value_parser = immutable(), default_value = "on")]
    pub(in crate::config) immutable: Immutable,
}

impl FieldArgs {
    /// The same for a site.
    pub(in crate::config) fn rules(&self) -> FieldRules {
        FieldRules {
            immutable: self.immutable,
            security: self.security_fields,
            cors: AllowedOrigins::new(&self.cors),
            headers: self.header.clone(),
            rules: Vec::new(),
        }
    }
}
