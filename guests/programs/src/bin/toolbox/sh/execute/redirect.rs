//! Descriptors turned elsewhere, and put back.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use pagewalk_programs::sys;

use super::Unwind;
use crate::sh::{
    Shell,
    ast::{Redirect, Target},
};

/// What descriptors were before a redirection, to be put back.
pub type Saved = Vec<(RawFd, Option<OwnedFd>)>;

impl Shell {
    /// Carries out redirections; what was before. Nothing if one failed, of which the user
    /// has been told: the command is then not run.
    pub fn redirect(&mut self, redirects: &[Redirect]) -> Result<Option<Saved>, Unwind> {
        let mut saved = Vec::new();
        if !redirects.is_empty() {
            // What was written so far belongs to the old place.
            let _ = io::stdout().flush();
        }
        for redirect in redirects {
            let result = self.redirect_one(redirect, &mut saved);
            match result {
                Ok(()) => {}
                Err(message) => {
                    restore(saved);
                    self.complain(&message);
                    self.status = 1;
                    return Ok(None);
                }
            }
        }
        Ok(Some(saved))
    }

    fn redirect_one(&mut self, redirect: &Redirect, saved: &mut Saved) -> Result<(), String> {
        let fd = redirect.fd;
        let mut save = || -> Result<(), String> {
            saved.push((fd, sys::save_fd(fd).map_err(|error| sys::reason(&error))?));
            Ok(())
        };
        let mut options = OpenOptions::new();
        let word = match &redirect.target {
            Target::Read(word) => {
                options.read(true);
                word
            }
            Target::Write(word) => {
                options.write(true).create(true).truncate(true);
                word
            }
            Target::Append(word) => {
                options.append(true).create(true);
                word
            }
            Target::ReadWrite(word) => {
                options.read(true).write(true).create(true);
                word
            }
            Target::Duplicate(word) => {
                let from = self.expand_string(word)?;
                save()?;
                if from == "-" {
                    sys::close(fd);
                    return Ok(());
                }
                let number: RawFd = from.parse().map_err(|_| format!("{from}: not a descriptor"))?;
                return sys::dup2(number, fd).map_err(|error| format!("{from}: {}", sys::reason(&error)));
            }
            Target::HereDocument(body) => {
                let text = match body.get() {
                    Some(body) => self.expand_string(body)?,
                    None => String::new(),
                };
                save()?;
                let failed = |error: io::Error| format!("here-document: {}", sys::reason(&error));
                let reading = self.here_document(&text).map_err(failed)?;
                return sys::install_fd(reading, fd).map_err(failed);
            }
        };
        let path = self.expand_string(word)?;
        save()?;
        let file = options.open(&path).map_err(|error| format!("{path}: {}", sys::reason(&error)))?;
        sys::install_fd(file.into(), fd).map_err(|error| format!("{path}: {}", sys::reason(&error)))
    }
}

/// Puts descriptors back as they were before a redirection.
pub fn restore(saved: Saved) {
    if !saved.is_empty() {
        let _ = io::stdout().flush();
    }
    for (fd, old) in saved.into_iter().rev() {
        match old {
            // The copy was made by the kernel a moment ago, so that this cannot fail.
            Some(old) => drop(sys::dup2(old.as_raw_fd(), fd)),
            None => sys::close(fd),
        }
    }
}

pub(super) fn connect(end: &Option<OwnedFd>, fd: RawFd) -> io::Result<()> {
    match end {
        Some(end) => sys::dup2(end.as_raw_fd(), fd),
        None => Ok(()),
    }
}
