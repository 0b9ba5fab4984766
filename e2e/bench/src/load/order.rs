//! What the process that measures and those of the clients tell each other: an order, then its answer, each a line of
//! JSON.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    clock::Clock,
    fleet::{Fleet, Look, Setup, Wanted},
};

/// What a process with clients shall do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// The first order.
    Start(Setup),
    /// [`Fleet::join`].
    Join { clients: Range<usize>, awaited: bool },
    /// [`Fleet::leave`].
    Leave(Range<usize>),
    /// [`Fleet::reconnect`].
    Reconnect,
    /// [`Fleet::aim`].
    Aim(Vec<Wanted>),
    /// [`Fleet::look`].
    Look,
    /// [`Fleet::arrivals`].
    Arrivals,
    /// [`Fleet::encodings`].
    Encodings,
    /// [`Fleet::digests`].
    Digests,
}

/// What it says when that is done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Done,
    Look(Look),
    Arrivals {
        /// By the [`Clock`].
        times: Vec<u64>,
        waiting: Option<String>,
    },
    Encodings(Vec<Vec<u64>>),
    Digests(Vec<(usize, u64)>),
}

/// Does what it is told until nobody tells it anything any more.
pub(super) async fn obey(orders: impl AsyncBufRead + Unpin, mut answers: impl AsyncWrite + Unpin) -> Result<()> {
    let clock = Clock::new();
    let (mut fleet, mut lines) = (None, orders.lines());
    while let Some(line) = lines.next_line().await.context("read an order")? {
        let order: Order = serde_json::from_str(&line).context("understand an order")?;
        let answer = serde_json::to_string(&carry_out(order, &mut fleet, clock)?)?;
        answers.write_all(answer.as_bytes()).await.context("answer")?;
        answers.write_all(b"\n").await.context("answer")?;
        answers.flush().await.context("answer")?;
    }
    Ok(())
}

fn carry_out(order: Order, fleet: &mut Option<Fleet>, clock: Clock) -> Result<Answer> {
    let order = match order {
        Order::Start(setup) => {
            *fleet = Some(Fleet::new(setup));
            return Ok(Answer::Done);
        }
        order => order,
    };
    let Some(fleet) = fleet else { bail!("an order before the first one") };
    match order {
        Order::Start(_) => {}
        Order::Join { clients, awaited } => fleet.join(&clients, awaited),
        Order::Leave(clients) => fleet.leave(&clients),
        Order::Reconnect => fleet.reconnect(),
        Order::Aim(wanted) => fleet.aim(&wanted),
        Order::Look => return Ok(Answer::Look(fleet.look())),
        Order::Arrivals => {
            let (times, waiting) = fleet.arrivals();
            let times = times.into_iter().map(|at| clock.number(at)).collect();
            return Ok(Answer::Arrivals { times, waiting });
        }
        Order::Encodings => {
            let of_types = fleet.encodings().into_iter().map(|of_type| of_type.into_iter().collect()).collect();
            return Ok(Answer::Encodings(of_types));
        }
        Order::Digests => return Ok(Answer::Digests(fleet.digests())),
    }
    Ok(Answer::Done)
}
