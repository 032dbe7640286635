//! The sections of a snapshot's body: four letters, a length, so many bytes.

use std::{
    fmt,
    io::{Read, Write},
};

use super::{SnapshotError, corrupt};

/// What is in a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tag([u8; 4]);

impl Tag {
    /// Everything but memory.
    pub const STATE: Tag = Tag(*b"STAT");
    /// Counters over time.
    pub const SAMPLES: Tag = Tag(*b"SMPL");
    /// Pages of memory, each behind the number of its frame. There may be many such sections.
    pub const PAGES: Tag = Tag(*b"PAGE");
    /// The last one, which is empty.
    pub const END: Tag = Tag(*b"END.");
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.escape_ascii())
    }
}

/// A section as it was read.
#[derive(Debug)]
pub(super) struct Section {
    pub tag: Tag,
    pub bytes: Vec<u8>,
}

/// Writes a section.
pub(super) fn write(body: &mut dyn Write, tag: Tag, bytes: &[u8]) -> Result<(), SnapshotError> {
    body.write_all(&tag.0)?;
    body.write_all(&(bytes.len() as u64).to_le_bytes())?;
    Ok(body.write_all(bytes)?)
}

/// Reads the next section. Room is made for what is there, not for what its length says.
pub(super) fn read(body: &mut dyn Read) -> Result<Section, SnapshotError> {
    let (mut tag, mut len) = ([0; 4], [0; 8]);
    body.read_exact(&mut tag).and_then(|()| body.read_exact(&mut len)).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => corrupt("it ends without its last section".into()),
        _ => error.into(),
    })?;
    let (tag, len) = (Tag(tag), u64::from_le_bytes(len));
    let mut bytes = Vec::new();
    let read = body.take(len).read_to_end(&mut bytes)? as u64;
    if read < len {
        return Err(corrupt(format!("its section {tag} has {read} bytes of {len}")));
    }
    Ok(Section { tag, bytes })
}

/// Reads the next section, which must be this one.
pub(super) fn read_expected(body: &mut dyn Read, tag: Tag) -> Result<Vec<u8>, SnapshotError> {
    let section = read(body)?;
    if section.tag != tag {
        return Err(corrupt(format!("a section {} where {tag} is expected", section.tag)));
    }
    Ok(section.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_that_are_none_are_refused_with_the_reason() {
        let mut body = Vec::new();
        write(&mut body, Tag::STATE, b"hello").unwrap();
        write(&mut body, Tag::END, &[]).unwrap();
        let mut rest = &body[..];
        assert_eq!(read_expected(&mut rest, Tag::STATE).unwrap(), b"hello");
        assert_eq!(read(&mut rest).unwrap().tag, Tag::END);
        let error = |mut bytes: &[u8], tag| read_expected(&mut bytes, tag).unwrap_err().to_string();
        assert_eq!(error(rest, Tag::END), "corrupt: it ends without its last section");
        assert_eq!(error(&body, Tag::END), "corrupt: a section `STAT` where `END.` is expected");
        assert_eq!(error(&body[..15], Tag::STATE), "corrupt: its section `STAT` has 3 bytes of 5");
        assert_eq!(
            error(b"\x01\xff..\x00\x00\x00\x00\x00\x00\x00\x00", Tag::END),
            "corrupt: a section `\\x01\\xff..` where `END.` is expected"
        );
        let endless = [&b"STAT"[..], &[0xff; 8], b"x"].concat();
        assert_eq!(error(&endless, Tag::STATE), format!("corrupt: its section `STAT` has 1 bytes of {}", u64::MAX));
    }
}
