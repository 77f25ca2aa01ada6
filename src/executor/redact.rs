//! What a server wrote into a record: secrets are masked, and every text is bounded. Records are evidence and go into
//! files that people share.

use crate::record::Record;
use crate::units::Secrets;
use std::borrow::Cow;

/// The longest message that is kept, in characters.
pub(super) const LONGEST_MESSAGE: usize = 500;

/// The longest name, class or id that is kept, in characters.
const LONGEST_NAME: usize = 128;

/// Masks and bounds every text of a record that came from outside.
pub(super) fn redact_record(secrets: &Secrets, record: &mut Record) {
    let bounded = [
        (&mut record.error_message, LONGEST_MESSAGE),
        (&mut record.error_class, LONGEST_NAME),
        (&mut record.stop_reason, LONGEST_NAME),
        (&mut record.request_id, LONGEST_NAME),
        (&mut record.resolved_service_tier, LONGEST_NAME),
    ];
    for (text, longest) in bounded {
        if let Some(text) = text {
            *text = secrets.redact(text, longest);
        }
    }
    // A reply that is kept is data, not a message: only values in use are masked.
    if let Some(text) = &mut record.reply_text
        && let Cow::Owned(masked) = secrets.mask_values(text)
    {
        *text = masked;
    }
}
