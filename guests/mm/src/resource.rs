//! The tree of I/O ports or physical memory: who has which range.

use abi::{Ptr32, books::ResourceRecord};

/// [`ResourceRecord::flags`]: claimed by a driver.
pub const BUSY: u32 = 1;

/// A handle of a node.
pub type Node = Ptr32<ResourceRecord>;

/// Where the nodes live.
pub trait Nodes {
    /// The record of a node.
    fn get(&self, node: Node) -> ResourceRecord;
    /// Replaces the links of a node: parent, sibling, child.
    fn set_links(&mut self, node: Node, links: [Node; 3]);
}

fn set(nodes: &mut impl Nodes, node: Node, change: impl FnOnce(&mut ResourceRecord)) {
    let mut record = nodes.get(node);
    change(&mut record);
    nodes.set_links(node, [record.parent, record.sibling, record.child]);
}

/// Puts `new` under `root`. `Err` names the child that overlaps it, or `root` if the range
/// does not lie in it.
pub fn request(nodes: &mut impl Nodes, root: Node, new: Node) -> Result<(), Node> {
    let (range, outer) = (nodes.get(new), nodes.get(root));
    if range.end < range.start || range.start < outer.start || range.end > outer.end {
        return Err(root);
    }
    let (mut before, mut next) = (Node::NULL, outer.child);
    while !next.is_null() {
        let child = nodes.get(next);
        if child.start > range.end {
            break;
        }
        if child.end >= range.start {
            return Err(next);
        }
        (before, next) = (next, child.sibling);
    }
    nodes.set_links(new, [root, next, range.child]);
    if before.is_null() {
        set(nodes, root, |r| r.child = new);
    } else {
        set(nodes, before, |r| r.sibling = new);
    }
    Ok(())
}

/// Claims a range for a driver: as [`request`], but inside a child that is not busy (a bus,
/// a window) the claim goes down into it. `Err` names the holder (EBUSY).
pub fn request_region(nodes: &mut impl Nodes, root: Node, new: Node) -> Result<(), Node> {
    let mut parent = root;
    loop {
        let conflict = match request(nodes, parent, new) {
            Ok(()) => return Ok(()),
            Err(conflict) => conflict,
        };
        if conflict == parent || nodes.get(conflict).flags & BUSY != 0 {
            return Err(conflict);
        }
        parent = conflict;
    }
}

/// Puts `new` where it belongs: down into the smallest range that holds it, taking over
/// the children that lie inside it. `Err` names a node that overlaps it in part.
pub fn insert(nodes: &mut impl Nodes, root: Node, new: Node) -> Result<(), Node> {
    let range = nodes.get(new);
    let mut parent = root;
    let conflict = loop {
        match request(nodes, parent, new) {
            Ok(()) => return Ok(()),
            Err(conflict) if conflict == parent => return Err(conflict),
            Err(conflict) => {
                let other = nodes.get(conflict);
                let holds = other.start <= range.start && other.end >= range.end;
                if !holds || (other.start == range.start && other.end == range.end) {
                    break conflict;
                }
                parent = conflict;
            }
        }
    };
    // `conflict` is the first child that overlaps: each that does must lie inside.
    let mut last = conflict;
    loop {
        let child = nodes.get(last);
        if child.start < range.start || child.end > range.end {
            return Err(last);
        }
        set(nodes, last, |r| r.parent = new);
        if child.sibling.is_null() || nodes.get(child.sibling).start > range.end {
            break;
        }
        last = child.sibling;
    }
    let after = nodes.get(last).sibling;
    set(nodes, last, |r| r.sibling = Node::NULL);
    nodes.set_links(new, [parent, after, conflict]);
    let first = nodes.get(parent).child;
    if first == conflict {
        set(nodes, parent, |r| r.child = new);
    } else {
        let mut before = first;
        while nodes.get(before).sibling != conflict {
            before = nodes.get(before).sibling;
        }
        set(nodes, before, |r| r.sibling = new);
    }
    Ok(())
}

/// Takes the busy node with exactly this range out of the tree.
pub fn release_region(nodes: &mut impl Nodes, root: Node, start: u32, end: u32) -> Option<Node> {
    let mut parent = root;
    'down: loop {
        let (mut before, mut at) = (Node::NULL, nodes.get(parent).child);
        while !at.is_null() {
            let child = nodes.get(at);
            if child.start <= start && child.end >= end {
                if child.flags & BUSY == 0 {
                    parent = at;
                    continue 'down;
                }
                if child.start != start || child.end != end {
                    return None;
                }
                if before.is_null() {
                    set(nodes, parent, |r| r.child = child.sibling);
                } else {
                    set(nodes, before, |r| r.sibling = child.sibling);
                }
                return Some(at);
            }
            (before, at) = (at, child.sibling);
        }
        return None;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use super::*;

    struct Arena(Vec<ResourceRecord>);

    impl Nodes for Arena {
        fn get(&self, node: Node) -> ResourceRecord {
            self.0[node.0 as usize - 1]
        }
        fn set_links(&mut self, node: Node, [parent, sibling, child]: [Node; 3]) {
            let record = &mut self.0[node.0 as usize - 1];
            (record.parent, record.sibling, record.child) = (parent, sibling, child);
        }
    }

    impl Arena {
        fn new(end: u32) -> (Self, Node) {
            (Arena(vec![ResourceRecord { end, ..Default::default() }]), Node::new(1))
        }
        fn node(&mut self, start: u32, end: u32, flags: u32) -> Node {
            self.0.push(ResourceRecord { start, end, flags, ..Default::default() });
            Node::new(self.0.len() as u32)
        }
        fn rows(&self, node: Node, depth: usize, out: &mut Vec<(usize, u32, u32)>) {
            let mut at = self.get(node).child;
            while !at.is_null() {
                let r = self.get(at);
                out.push((depth, r.start, r.end));
                self.rows(at, depth + 1, out);
                at = r.sibling;
            }
        }
        fn tree(&self) -> Vec<(usize, u32, u32)> {
            let mut out = Vec::new();
            self.rows(Node::new(1), 0, &mut out);
            out
        }
    }

    #[test]
    fn children_stay_sorted_and_overlaps_are_refused() {
        let (mut arena, root) = Arena::new(0xffff);
        for (start, end) in [(0x3f8, 0x3ff), (0x20, 0x21), (0x40, 0x43)] {
            let node = arena.node(start, end, BUSY);
            request_region(&mut arena, root, node).unwrap();
        }
        let clash = arena.node(0x3fe, 0x401, BUSY);
        assert_eq!(request_region(&mut arena, root, clash), Err(Node::new(2)));
        assert_eq!(arena.tree(), [(0, 0x20, 0x21), (0, 0x40, 0x43), (0, 0x3f8, 0x3ff)]);
    }

    #[test]
    fn a_driver_claims_inside_a_bus_window_but_not_inside_another_driver() {
        let (mut arena, root) = Arena::new(0xffff);
        let bus = arena.node(0, 0xcf7, 0);
        request(&mut arena, root, bus).unwrap();
        let pic = arena.node(0x20, 0x21, BUSY);
        request_region(&mut arena, root, pic).unwrap();
        let again = arena.node(0x20, 0x20, BUSY);
        assert_eq!(request_region(&mut arena, root, again), Err(pic));
        assert_eq!(arena.tree(), [(0, 0, 0xcf7), (1, 0x20, 0x21)]);
    }

    #[test]
    fn insert_adopts_what_lies_inside() {
        let (mut arena, root) = Arena::new(!0);
        for (start, end) in [(0x100, 0x1ff), (0x300, 0x3ff), (0x1000, 0x1fff)] {
            let node = arena.node(start, end, 0);
            insert(&mut arena, root, node).unwrap();
        }
        let window = arena.node(0x80, 0x7ff, 0);
        insert(&mut arena, root, window).unwrap();
        let inner = arena.node(0x140, 0x15f, 0);
        insert(&mut arena, root, inner).unwrap();
        let crossing = arena.node(0x700, 0x10ff, 0);
        assert!(insert(&mut arena, root, crossing).is_err());
        assert_eq!(
            arena.tree(),
            [(0, 0x80, 0x7ff), (1, 0x100, 0x1ff), (2, 0x140, 0x15f), (1, 0x300, 0x3ff), (0, 0x1000, 0x1fff)]
        );
    }

    #[test]
    fn a_released_region_can_be_claimed_again() {
        let (mut arena, root) = Arena::new(0xffff);
        let first = arena.node(0x60, 0x64, BUSY);
        request_region(&mut arena, root, first).unwrap();
        assert_eq!(release_region(&mut arena, root, 0x60, 0x63), None);
        assert_eq!(release_region(&mut arena, root, 0x60, 0x64), Some(first));
        let second = arena.node(0x60, 0x64, BUSY);
        request_region(&mut arena, root, second).unwrap();
    }
}
