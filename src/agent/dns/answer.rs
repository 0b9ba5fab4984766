//! Questions for names and their answers, as they stand in messages (RFC 1035, RFC 6891).

use std::net::IpAddr;

use domain::{
    base::{
        Message, MessageBuilder, Name, Rtype, StaticCompressor, ToName,
        iana::{Class, Rcode},
        message_builder::{AnswerBuilder, PushError},
        name::ParsedName,
        wire::Composer,
    },
    rdata::{A, Aaaa, Cname},
};

use crate::agent::names::{Found, Table};

/// How long an answer may be kept, in seconds: addresses change.
const TTL: u32 = 30;

/// The longest answer over UDP to who does not say more, and what we say that we take.
const UDP_LENGTH: u16 = 512;
const OWN_LENGTH: u16 = 1232;

/// What is done about a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is answered so.
    Answer(Vec<u8>),
    /// Others are to be asked.
    HandOn,
    /// It is none.
    Drop,
}

/// How a question came, which bounds its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// Answers a question from a table; `turn` says which of several addresses comes first.
pub(super) fn answer(question: &[u8], table: &Table, transport: Transport, turn: usize) -> Verdict {
    let Some(message) = message(question) else { return Verdict::Drop };
    let Ok(asked) = message.sole_question() else { return Verdict::HandOn };
    if !matches!(asked.qtype(), Rtype::A | Rtype::AAAA) || asked.qclass() != Class::IN {
        return Verdict::HandOn;
    }
    let Some(found) = table.find(&asked.qname().to_string()) else { return Verdict::HandOn };
    let ips = in_turn(&found, asked.qtype(), turn);
    let limit = limit(message, transport);
    // One that is too long says so, and the client asks again over TCP.
    let made = build(message, asked.qname(), &found, &ips, limit);
    made.or_else(|_| truncated(message)).map_or(Verdict::Drop, Verdict::Answer)
}

/// Says that the question cannot be answered now.
pub(super) fn failure(question: &[u8]) -> Option<Vec<u8>> {
    let message = message(question)?;
    Some(MessageBuilder::new_vec().start_answer(message, Rcode::SERVFAIL).ok()?.finish())
}

/// A question, not an answer: two servers would send answers to each other for ever.
fn message(bytes: &[u8]) -> Option<&Message<[u8]>> {
    Message::from_slice(bytes).ok().filter(|message| !message.header().qr())
}

fn limit(message: &Message<[u8]>, transport: Transport) -> usize {
    match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => message.opt().map_or(UDP_LENGTH, |opt| opt.udp_payload_size().max(UDP_LENGTH)).into(),
    }
}

/// The addresses of the family that is asked for. With none, the host is still known: clients that ask for both
/// families would take "no such name" for the answer about either.
fn in_turn(found: &Found, asked: Rtype, turn: usize) -> Vec<IpAddr> {
    let addresses = &found.addresses;
    let mut ips: Vec<IpAddr> = match asked {
        Rtype::A => addresses.v4.iter().copied().map(IpAddr::from).collect(),
        _ => addresses.v6.iter().copied().map(IpAddr::from).collect(),
    };
    if !ips.is_empty() {
        let length = ips.len();
        ips.rotate_left(turn % length);
    }
    ips
}

type Failed = Box<dyn std::error::Error>;

fn build(
    message: &Message<[u8]>,
    name: &ParsedName<&[u8]>,
    found: &Found,
    ips: &[IpAddr],
    limit: usize,
) -> Result<Vec<u8>, Failed> {
    let mut builder = MessageBuilder::from_target(StaticCompressor::new(Vec::new()))?;
    builder.set_push_limit(limit);
    let mut answers = builder.start_answer(message, Rcode::NOERROR)?;
    let header = answers.header_mut();
    header.set_aa(true);
    header.set_ra(true);
    match &found.alias {
        // Nothing to be reached: the alias says as little as the name.
        Some(_) if ips.is_empty() => {}
        Some(alias) => {
            let alias: Name<Vec<u8>> = alias.parse()?;
            answers.push((name, TTL, Cname::new(&alias)))?;
            push_all(&mut answers, &alias, ips)?;
        }
        None => push_all(&mut answers, name, ips)?,
    }
    let mut additional = answers.additional();
    if message.opt().is_some() {
        additional.opt(|opt| {
            opt.set_udp_payload_size(OWN_LENGTH);
            Ok(())
        })?;
    }
    Ok(additional.finish().into_target())
}

fn push_all<T: Composer>(answers: &mut AnswerBuilder<T>, name: &impl ToName, ips: &[IpAddr]) -> Result<(), PushError> {
    ips.iter().try_for_each(|ip| match ip {
        IpAddr::V4(ip) => answers.push((name, TTL, A::new(*ip))),
        IpAddr::V6(ip) => answers.push((name, TTL, Aaaa::new(*ip))),
    })
}

fn truncated(message: &Message<[u8]>) -> Result<Vec<u8>, Failed> {
    let mut answers = MessageBuilder::new_vec().start_answer(message, Rcode::NOERROR)?;
    answers.header_mut().set_tc(true);
    answers.header_mut().set_ra(true);
    Ok(answers.finish())
}

#[cfg(test)]
mod tests;
