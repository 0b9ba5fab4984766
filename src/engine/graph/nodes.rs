//! All nodes, by id. An id is an edge's end, so a node stays where it is; and yet memory has to return after a storm.
//! Therefore nodes live in chunks: new ones go into the first chunk that has room, and one that emptied is given back.

use std::collections::BTreeSet;

use super::node::{Node, NodeId};

/// How many nodes a chunk has room for: 72 KiB or so, much beside what an allocation costs and little to hold for one.
const CHUNK: usize = 1024;

/// The nodes of a graph.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Those that have emptied are `None`.
    chunks: Vec<Option<Chunk>>,
    /// Chunks that are not full, those that have emptied included.
    with_room: BTreeSet<usize>,
    live: usize,
}

#[derive(Debug)]
struct Chunk {
    slots: Box<[Option<Node>]>,
    free: Vec<u16>,
}

impl Default for Chunk {
    fn default() -> Self {
        let free = (0..CHUNK).rev().map(|at| u16::try_from(at).expect("a chunk has fewer than 65,536 slots"));
        Self { slots: std::iter::repeat_with(|| None).take(CHUNK).collect(), free: free.collect() }
    }
}

impl Nodes {
    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// How many nodes there is memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.chunks.iter().flatten().count() * CHUNK
    }

    /// A node, if its id is one now.
    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.chunks.get(id as usize / CHUNK)?.as_ref()?.slots[id as usize % CHUNK].as_ref()
    }

    /// See [`Nodes::get`].
    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.chunks.get_mut(id as usize / CHUNK)?.as_mut()?.slots[id as usize % CHUNK].as_mut()
    }

    /// Gives a node an id, which may have been another's.
    pub(super) fn insert(&mut self, node: Node) -> NodeId {
        let at = self.with_room.first().copied().unwrap_or_else(|| {
            self.chunks.push(None);
            self.with_room.insert(self.chunks.len() - 1);
            self.chunks.len() - 1
        });
        let chunk = self.chunks[at].get_or_insert_default();
        let slot = chunk.free.pop().expect("a chunk with room has a free slot");
        chunk.slots[slot as usize] = Some(node);
        if chunk.free.is_empty() {
            self.with_room.remove(&at);
        }
        self.live += 1;
        NodeId::try_from(at * CHUNK + slot as usize).expect("fewer than 2^32 nodes fit into memory")
    }

    /// Ends a node.
    pub(super) fn remove(&mut self, id: NodeId) {
        let (at, slot) = (id as usize / CHUNK, id as usize % CHUNK);
        let Some(chunk) = self.chunks.get_mut(at).and_then(Option::as_mut) else { return };
        if chunk.slots[slot].take().is_none() {
            return;
        }
        chunk.free.push(u16::try_from(slot).expect("a chunk has fewer than 65,536 slots"));
        self.with_room.insert(at);
        if chunk.free.len() == CHUNK {
            self.chunks[at] = None;
        }
        self.live -= 1;
    }

    /// All nodes.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.chunks.iter().flatten().flat_map(|chunk| chunk.slots.iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_returns_when_nodes_go_and_ids_are_used_again() {
        let mut nodes = Nodes::default();
        let ids: Vec<_> = (0..10 * CHUNK).map(|n| nodes.insert(Node::new(0, n as u32))).collect();
        let lasting = ids[5 * CHUNK];
        ids.iter().filter(|id| **id != lasting).for_each(|id| nodes.remove(*id));
        assert_eq!((nodes.len(), nodes.capacity()), (1, CHUNK));
        assert_eq!(nodes.get(lasting).map(|node| node.row as usize), Some(5 * CHUNK), "it stays where it is");
        assert!(nodes.get(ids[0]).is_none() && nodes.get(u32::MAX).is_none());
        nodes.remove(ids[0]);
        assert_eq!(nodes.len(), 1, "what is gone cannot go again");
        let again: BTreeSet<_> = (0..10 * CHUNK - 1).map(|_| nodes.insert(Node::new(0, 0))).collect();
        assert_eq!((again.len(), nodes.capacity()), (10 * CHUNK - 1, 10 * CHUNK));
        assert!(!again.contains(&lasting));
    }
}
