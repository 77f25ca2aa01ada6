//! Redaction of a server's texts in records: secrets are masked and the length is limited, since records are written to files
//! that people share.

use crate::record::Record;
use crate::units::Secrets;
use std::borrow::Cow;

/// Maximum length of a message, in characters.
pub(super) const MAX_MESSAGE_CHARS: usize = 500;

/// Maximum length of a name, class or id, in characters.
const MAX_NAME_CHARS: usize = 128;

/// Masks and shortens all foreign texts of a record.
pub(super) fn redact_record(secrets: &Secrets, record: &mut Record) {
    let bounded = [
        (&mut record.error_message, MAX_MESSAGE_CHARS),
        (&mut record.error_class, MAX_NAME_CHARS),
        (&mut record.stop_reason, MAX_NAME_CHARS),
        (&mut record.request_id, MAX_NAME_CHARS),
        (&mut record.resolved_service_tier, MAX_NAME_CHARS),
    ];
    for (text, longest) in bounded {
        if let Some(text) = text {
            *text = secrets.redact(text, longest);
        }
    }
    // The text of a reply is data, not a message: only values in use are masked.
    if let Some(text) = &mut record.reply_text
        && let Cow::Owned(masked) = secrets.mask_values(text)
    {
        *text = masked;
    }
}
