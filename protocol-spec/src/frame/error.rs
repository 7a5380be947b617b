//! Why a payload is no frame for us: one reason, one drop counter (SPEC 4.8).

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $counter:literal, $text:literal;)+) => {
        /// Why a received payload is no frame for us. One drop counter each (SPEC 4.8).
        ///
        /// The variants stand in the order of the checks. Up to [`Self::BadTag`] nothing of the
        /// payload is believed; what follows can only come from a holder of the key.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
        #[non_exhaustive]
        pub enum DecodeError {
            $($(#[doc = $doc])+ #[error($text)] $name,)+
        }

        impl DecodeError {
            /// Every reason, in the order of the checks.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name of the reason's drop counter, in status, metrics and vectors.
            #[must_use]
            pub const fn counter_name(&self) -> &'static str {
                match self {
                    $(Self::$name => $counter,)+
                }
            }
        }
    };
}

reasons! {
    /// Shorter than a header and a tag, or than the length that it names.
    Truncated = "truncated", "shorter than a frame, or than the length that it names";
    /// Longer than any frame, or names such a length.
    Oversized = "oversized", "longer than any frame";
    /// Does not begin with "NL": somebody else uses the ethertype.
    BadMagic = "bad_magic", "does not begin as a frame does";
    /// Of another version of the protocol.
    OtherVersion = "other_version", "of another protocol version";
    /// Of another cluster on the same segment.
    OtherCluster = "other_cluster", "of another cluster";
    /// Names a length that holds no header and tag.
    BadLength = "bad_length", "names a length that holds no header and tag";
    /// No key of the ring made the tag: another key, or a forgery.
    BadTag = "bad_tag", "not signed by a key of the cluster";
    /// Of a type that version 1 does not know.
    UnknownType = "unknown_type", "of an unknown type";
    /// Incarnation zero, which no node has.
    ZeroIncarnation = "zero_incarnation", "incarnation zero";
    /// Sequence number zero, which no frame has.
    ZeroSequence = "zero_sequence", "sequence number zero";
    /// The body ends before its last field.
    ShortBody = "short_body", "the body ends before its last field";
    /// Bytes behind the last field of a body that takes no extensions.
    TrailingBytes = "trailing_bytes", "bytes behind the last field";
    /// An extension reaches past the end of the body.
    BadExtension = "bad_extension", "an extension reaches past the end";
    /// A state that version 1 does not know.
    BadState = "bad_state", "unknown state";
    /// Weight zero.
    ZeroWeight = "zero_weight", "weight zero";
    /// More peers than a node can have.
    TooManyPeers = "too_many_peers", "more peers than a node can have";
    /// The peers do not rise strictly by id: unsorted, or one of them twice.
    UnsortedPeers = "unsorted_peers", "the peers do not rise strictly";
    /// The sender names itself among its peers.
    OwnIdAmongPeers = "own_id_among_peers", "the sender is among its own peers";
    /// A text longer than its bound.
    LongText = "long_text", "a text longer than its bound";
    /// A text that is no UTF-8, or has control characters.
    BadText = "bad_text", "a text with other than printable UTF-8";
    /// A pin entry of unknown kind, or one that shares more bytes than its address has.
    BadPinKind = "bad_pin_kind", "a pin entry of unknown kind";
    /// A pin delta without entries.
    NoEntries = "no_entries", "a pin delta without entries";
    /// A pin delta that begins at version zero or runs past the last version.
    BadPinVersion = "bad_pin_version", "a pin delta of impossible versions";
    /// A part of a snapshot whose range is empty, whose clients do not rise within it, or whose
    /// memory is later than its version.
    BadPart = "bad_part", "a snapshot part that cannot be";
}
