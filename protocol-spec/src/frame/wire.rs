//! Cursors over a frame's bytes: every access is checked, so a codec cannot panic.

use super::error::DecodeError;

/// Reads fields one after the other.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(DecodeError::ShortBody)?;
        self.0 = rest;
        Ok(field)
    }

    /// The next `len` bytes.
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (field, rest) = self.0.split_at_checked(len).ok_or(DecodeError::ShortBody)?;
        self.0 = rest;
        Ok(field)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| *byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().copied().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().copied().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().copied().map(u64::from_be_bytes)
    }

    /// Goes through the extensions at the end of a body (SPEC 4.1) and hands type and value of each
    /// to `take`, which skips what it does not know.
    pub(super) fn extensions(
        mut self,
        mut take: impl FnMut(u8, Reader<'a>),
    ) -> Result<(), DecodeError> {
        while !self.is_empty() {
            let (kind, value) = self.extension().map_err(|_| DecodeError::BadExtension)?;
            take(kind, Reader::new(value));
        }
        Ok(())
    }

    fn extension(&mut self) -> Result<(u8, &'a [u8]), DecodeError> {
        let (kind, len) = (self.u8()?, self.u8()?);
        Ok((kind, self.bytes(usize::from(len))?))
    }

    /// Ends a body that takes no extensions.
    pub(super) const fn end(self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

/// Writes fields one after the other. What does not fit is left out whole, never cut.
pub(super) struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// How much was written.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&mut self, field: &[u8]) {
        let end = self.len.saturating_add(field.len());
        if let Some(room) = self.out.get_mut(self.len..end) {
            room.copy_from_slice(field);
            self.len = end;
        }
    }

    pub(super) fn u8(&mut self, field: u8) {
        self.bytes(&[field]);
    }

    pub(super) fn u16(&mut self, field: u16) {
        self.bytes(&field.to_be_bytes());
    }

    pub(super) fn u32(&mut self, field: u32) {
        self.bytes(&field.to_be_bytes());
    }

    pub(super) fn u64(&mut self, field: u64) {
        self.bytes(&field.to_be_bytes());
    }
}
