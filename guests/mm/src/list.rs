//! A list of frames whose links stand in the frames' own descriptors, as the lists of the
//! page replacement are.

/// The descriptors of frames, as far as a list needs them.
pub trait Links {
    /// The frames before and behind `pfn` in its list; [`END`] for none.
    fn links(&self, pfn: u32) -> [u32; 2];
    /// Changes them.
    fn set_links(&mut self, pfn: u32, links: [u32; 2]);
}

/// No frame.
pub const END: u32 = !0;

/// A doubly linked list of frame numbers. New frames go to the head; the tail is the oldest.
#[derive(Clone, Copy, Debug)]
pub struct PfnList {
    head: u32,
    tail: u32,
    len: u32,
}

impl Default for PfnList {
    fn default() -> Self {
        Self::new()
    }
}

impl PfnList {
    /// An empty list.
    pub const fn new() -> Self {
        PfnList { head: END, tail: END, len: 0 }
    }

    /// Frames in it.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The oldest frame.
    pub fn tail(&self) -> Option<u32> {
        (self.tail != END).then_some(self.tail)
    }

    /// The newest frame.
    pub fn head(&self) -> Option<u32> {
        (self.head != END).then_some(self.head)
    }

    /// Adds a frame that is on no list as the newest.
    pub fn push_head(&mut self, frames: &mut impl Links, pfn: u32) {
        frames.set_links(pfn, [END, self.head]);
        match self.head {
            END => self.tail = pfn,
            head => {
                let [_, next] = frames.links(head);
                frames.set_links(head, [pfn, next]);
            }
        }
        self.head = pfn;
        self.len += 1;
    }

    /// Adds a frame that is on no list as the oldest.
    pub fn push_tail(&mut self, frames: &mut impl Links, pfn: u32) {
        frames.set_links(pfn, [self.tail, END]);
        match self.tail {
            END => self.head = pfn,
            tail => {
                let [prev, _] = frames.links(tail);
                frames.set_links(tail, [prev, pfn]);
            }
        }
        self.tail = pfn;
        self.len += 1;
    }

    /// Takes out a frame of this list.
    pub fn remove(&mut self, frames: &mut impl Links, pfn: u32) {
        let [prev, next] = frames.links(pfn);
        match prev {
            END => self.head = next,
            prev => {
                let [before, _] = frames.links(prev);
                frames.set_links(prev, [before, next]);
            }
        }
        match next {
            END => self.tail = prev,
            next => {
                let [_, behind] = frames.links(next);
                frames.set_links(next, [prev, behind]);
            }
        }
        frames.set_links(pfn, [END, END]);
        self.len -= 1;
    }

    /// The frames, from the newest to the oldest.
    pub fn iter<'a>(&self, frames: &'a impl Links) -> impl Iterator<Item = u32> + 'a {
        core::iter::successors(self.head(), |&pfn| Some(frames.links(pfn)[1]).filter(|&next| next != END))
    }

    /// Takes out the oldest frame.
    pub fn pop_tail(&mut self, frames: &mut impl Links) -> Option<u32> {
        let pfn = self.tail()?;
        self.remove(frames, pfn);
        Some(pfn)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use proptest::prelude::*;
    use std::{collections::VecDeque, vec, vec::Vec};

    use super::*;

    struct Table(Vec<[u32; 2]>);

    impl Links for Table {
        fn links(&self, pfn: u32) -> [u32; 2] {
            self.0[pfn as usize]
        }
        fn set_links(&mut self, pfn: u32, links: [u32; 2]) {
            self.0[pfn as usize] = links;
        }
    }

    /// The frames from the head on, and whether the way back is the same.
    fn walk(list: &PfnList, table: &Table) -> Vec<u32> {
        let (forth, mut back) = (list.iter(table).collect::<Vec<_>>(), Vec::new());
        let mut at = list.tail;
        while at != END {
            back.push(at);
            at = table.0[at as usize][0];
        }
        back.reverse();
        assert_eq!(forth, back);
        assert_eq!(forth.len() as u32, list.len());
        forth
    }

    proptest! {
        #[test]
        fn a_list_agrees_with_a_queue(steps in proptest::collection::vec((0u8..4, 0u32..16), 0..200)) {
            let (mut list, mut table, mut model) = (PfnList::new(), Table(vec![[END; 2]; 16]), VecDeque::new());
            for (step, pfn) in steps {
                let held = model.iter().position(|&p| p == pfn);
                match (step, held) {
                    (0, None) => {
                        list.push_head(&mut table, pfn);
                        model.push_front(pfn);
                    }
                    (1, None) => {
                        list.push_tail(&mut table, pfn);
                        model.push_back(pfn);
                    }
                    (2, Some(at)) => {
                        list.remove(&mut table, pfn);
                        model.remove(at);
                    }
                    (3, _) => prop_assert_eq!(list.pop_tail(&mut table), model.pop_back()),
                    _ => {}
                }
                prop_assert_eq!(walk(&list, &table), Vec::from(model.clone()));
            }
        }
    }
}
