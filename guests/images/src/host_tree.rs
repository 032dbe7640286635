//! Reads a folder of the host for the guest's file tree.

use std::{
    fs::{self, Metadata},
    path::Path,
};

use crate::InitramfsError;

/// A member of the folder.
pub(crate) struct Member {
    /// Its path below the folder, with `/` between components.
    pub path: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    pub content: Content,
}

pub(crate) enum Content {
    Directory,
    File(Vec<u8>),
    Symlink(Vec<u8>),
}

/// All that is below `root`, in no particular order. Symbolic links are not followed
/// (`root` itself may be one).
pub(crate) fn read(root: &Path) -> Result<Vec<Member>, InitramfsError> {
    let metadata = fs::metadata(root).map_err(|source| InitramfsError::Host { path: root.into(), source })?;
    if !metadata.is_dir() {
        return Err(InitramfsError::NotADirectory(root.into()));
    }
    let mut members = Vec::new();
    read_directory(root, &[], &mut members)?;
    Ok(members)
}

/// The permission bits of a file; where the host has none, those of a program.
pub(crate) fn permissions(metadata: &Metadata) -> u32 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        metadata.permissions().mode() & 0o7777
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        0o755
    }
}

fn read_directory(dir: &Path, prefix: &[u8], members: &mut Vec<Member>) -> Result<(), InitramfsError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| InitramfsError::Host { path, source }
    };
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let entry = entry.map_err(failed(dir))?;
        let host_path = entry.path();
        let metadata = entry.metadata().map_err(failed(&host_path))?;
        let path = [prefix, entry.file_name().as_encoded_bytes()].concat();
        let content = if metadata.is_dir() {
            read_directory(&host_path, &[&path[..], b"/"].concat(), members)?;
            Content::Directory
        } else if metadata.is_symlink() {
            let target = fs::read_link(&host_path).map_err(failed(&host_path))?;
            Content::Symlink(target.into_os_string().into_encoded_bytes())
        } else if metadata.is_file() {
            Content::File(fs::read(&host_path).map_err(failed(&host_path))?)
        } else {
            log::warn!("{}: left out of the guest's file tree: not a file, folder or link", host_path.display());
            continue;
        };
        members.push(Member { path, mode: permissions(&metadata), content });
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::{fs::PermissionsExt, fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn files_keep_their_mode_links_stay_links_and_sockets_are_left_out() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().join("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/prog"), "code").unwrap();
        fs::set_permissions(root.join("bin/prog"), fs::Permissions::from_mode(0o750)).unwrap();
        fs::create_dir(host.path().join("outside")).unwrap();
        fs::write(host.path().join("outside/secret"), "secret").unwrap();
        symlink("../outside", root.join("way-out")).unwrap();
        let _socket = UnixListener::bind(root.join("socket")).unwrap();

        let mut members = read(&root).unwrap();
        members.sort_by(|a, b| a.path.cmp(&b.path));
        let shown: Vec<_> = members
            .iter()
            .map(|member| {
                let path = String::from_utf8_lossy(&member.path);
                match &member.content {
                    Content::Directory => format!("{path}/"),
                    Content::File(data) => format!("{path} {:o} {}", member.mode, String::from_utf8_lossy(data)),
                    Content::Symlink(target) => format!("{path} -> {}", String::from_utf8_lossy(target)),
                }
            })
            .collect();
        assert_eq!(shown, ["bin/", "bin/prog 750 code", "way-out -> ../outside"]);
    }

    #[test]
    fn a_root_that_is_missing_or_a_file_is_refused() {
        let host = tempfile::tempdir().unwrap();
        let file = host.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(read(&host.path().join("none")), Err(InitramfsError::Host { .. })));
        assert!(matches!(read(&file), Err(InitramfsError::NotADirectory(_))));
    }
}
