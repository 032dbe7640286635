//! Programs: found, and run in place of this process or within it.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use pagewalk_programs::sys;

use super::Unwind;

use crate::{
    APPLETS,
    args::Args,
    sh::{Shell, ast::Redirect},
};

/// Folder of the embedded commands, which are found even if `PATH` does not name it.
const OWN_COMMANDS: &str = "/.pagewalk/bin";

impl Shell {
    /// Replaces this process by a program; if that fails, the status to end with.
    pub(super) fn become_command(
        &mut self,
        settings: Vec<(String, String)>,
        args: Vec<String>,
        redirects: &[Redirect],
    ) -> i32 {
        match self.redirect(redirects) {
            Ok(Some(_)) => {}
            Ok(None) => return self.status,
            Err(Unwind::Failed(message)) => {
                self.complain(&message);
                return 1;
            }
            Err(_) => return 1,
        }
        if let Err(Unwind::Failed(message)) = self.assign_for_now(settings).map(drop) {
            self.complain(&message);
            return 1;
        }
        // Text of the shell has no NUL; the parser took none and variables come from C strings.
        let c_string = |text: &str| CString::new(text.replace('\0', "")).unwrap_or_default();
        let mut c_args: Vec<CString> = args.iter().map(|arg| c_string(arg)).collect();
        let exported = self.variables.iter().filter(|(_, variable)| variable.exported);
        let env: Vec<CString> = exported.map(|(name, v)| c_string(&format!("{name}={}", v.value))).collect();
        let Some(path) = self.find_program(&args[0]) else {
            if let Some((_, applet)) = APPLETS.iter().find(|(name, _)| *name == args[0]) {
                return run_applet(*applet, args);
            }
            self.complain(&format!("{}: not found", args[0]));
            return 127;
        };
        let error = sys::execve(&c_string(&path), &c_args, &env);
        if error.raw_os_error() == Some(libc::ENOEXEC) && is_text(&path) {
            // No format that the kernel knows: a script without `#!`.
            c_args.splice(0..1, [c_string("sh"), c_string(&path)]);
            sys::execve(c"/proc/self/exe", &c_args, &env);
        }
        self.complain(&format!("{}: {}", args[0], sys::reason(&error)));
        if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
    }

    /// The path of a program, by `PATH` if its name has no slash.
    pub fn find_program(&self, name: &str) -> Option<String> {
        if name.contains('/') {
            return Some(name.to_string());
        }
        let path = self.get("PATH").unwrap_or("/bin:/usr/bin");
        let folders = path.split(':').map(|folder| if folder.is_empty() { "." } else { folder });
        let mut candidates = folders.chain([OWN_COMMANDS]).map(|folder| format!("{folder}/{name}"));
        candidates.find(|path| {
            let metadata = Path::new(path).metadata();
            metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
        })
    }
}

/// Runs a command of this very program, where there is no file of that name.
pub fn run_applet(applet: crate::Applet, args: Vec<String>) -> i32 {
    let name = args[0].clone();
    let status = match applet(Args::new(args.into_iter().map(Into::into).collect())) {
        Ok(status) => i32::from(status),
        Err(message) => {
            eprintln!("{name}: {message}");
            1
        }
    };
    let _ = io::stdout().flush();
    status
}

/// Whether a file begins like text.
fn is_text(path: &str) -> bool {
    use io::Read;
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(256).read_to_end(&mut start));
    read.is_ok() && !start.contains(&0)
}
