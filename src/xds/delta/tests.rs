use crate::{
    snapshot::{Name, ResourceType},
    xds::{Protocol, testing::Script},
};

fn run(script: &str) {
    Script::new(Protocol::Delta).run(script);
}

/// A connected proxy with everything acknowledged, to go on from.
const CONNECTED: &str = "
    = cds a@1 eds=a | eds a@1 | lds l@1 rds=r | rds r@1 cds=a
    > cds
    < cds a
    > eds a
    < eds a
    ack cds
    ack eds
    > lds
    < lds l
    > rds r
    < rds r
    ack lds
    ack rds";

fn connected(script: &str) {
    Script::new(Protocol::Delta).run(CONNECTED).run(script);
}

#[test]
fn a_proxy_starts() {
    connected("");
}

#[test]
fn the_first_wildcard_request_is_answered_even_with_nothing() {
    run("
        > cds
        < cds
        > lds *
        < lds
        > eds
    ");
}

#[test]
fn equal_versions_are_never_sent() {
    connected("= cds a@1 eds=a | eds a@1 | lds l@1 rds=r | rds r@1 cds=a");
}

#[test]
fn only_what_changed_is_sent() {
    connected(
        "
        = cds a@1 eds=a | eds a@2 | lds l@1 rds=r | rds r@1 cds=a
        < eds a
        ack eds
        = cds a@1 eds=a | eds a@2 | lds l@1 rds=r | rds r@2 cds=a
        < rds r
    ",
    );
}

#[test]
fn changes_that_take_themselves_back_before_they_are_sent_are_nothing() {
    let mut script = Script::new(Protocol::Delta);
    script.run(CONNECTED);
    for text in ["eds a@2", "eds a@1"] {
        let snapshot =
            super::super::testing::snapshot(&format!("cds a@1 eds=a | {text} | lds l@1 rds=r | rds r@1 cds=a"));
        script.machine.set_snapshot(&snapshot.into());
    }
    script.run("");
}

#[test]
fn names_not_asked_for_are_not_sent() {
    run("
        = eds a@1 | eds b@1
        > eds a
        < eds a
        ack eds
        = eds a@1 | eds b@2
        > eds b
        < eds b
        > eds -a
        = eds a@2 | eds b@2
    ");
}

#[test]
fn an_unknown_name_is_answered_and_served_once_it_appears() {
    run("
        = rds r@1
        > rds nothing
        < rds -nothing
        ack rds
        = rds nothing@1
        < rds nothing
    ");
}

#[test]
fn a_name_asked_for_again_is_sent_again() {
    connected(
        "
        > eds a
        < eds a
    ",
    );
}

#[test]
fn leaving_the_wildcard_keeps_the_names() {
    run("
        = cds a@1 | cds b@1
        > cds * a
        < cds a b
        ack cds
        > cds -*
        = cds a@2 | cds b@2
        < cds a
        > cds *
        < cds b
    ");
}

#[test]
fn unsubscribing_a_name_inside_the_wildcard_tells_what_it_is() {
    run("
        = cds a@1 | cds b@1
        > cds * a gone
        < cds a b -gone
        > cds -a -gone
        < cds a -gone
    ");
}

#[test]
fn secrets_are_withheld_silently() {
    run("
        = sds s@1 | sds denied@1
        > sds s denied missing
        < sds s
        ack sds
        = sds denied@2
        > sds *
    ");
}

#[test]
fn a_secret_is_sent_once_it_may_be_had() {
    let mut script = Script::new(Protocol::Delta);
    script.run(
        "
        = sds s@1 | sds denied-1@1 | sds denied-2@1
        > sds denied-1 denied-2@1 denied-3
    ",
    );
    assert_eq!(script.machine.take_denied(), [Name::from("denied-1")]);
    script.run(
        "
        = sds s@2 | sds denied-1@1 | sds denied-2@1
        permit
        # What the client said that it has is not sent again.
        < sds denied-1
        ack sds
        permit
        = sds denied-1@2 | sds denied-2@2
        < sds denied-1 denied-2
    ",
    );
    assert!(script.machine.take_denied().is_empty());
}

#[test]
fn a_stale_or_foreign_nonce_is_ignored() {
    let mut script = Script::new(Protocol::Delta);
    script.run(CONNECTED);
    let cluster = ResourceType::Cluster;
    for nonce in ["n999", "x", "n", "n-1", "n99999999999999999999999", "\u{fffd}"] {
        script.answer(cluster, nonce, Some("no"));
    }
    script.run("");
    assert!(script.machine.status(cluster).is_some_and(|s| s.last_error.is_none() && s.nonce_acked == s.nonce_sent));
}

#[test]
fn a_reconnect_with_right_versions_resends_nothing() {
    run("
        = cds a@1 eds=a | eds a@1 | lds l@1 rds=r | rds r@1 cds=a | sds s@1
        > cds a@1
        > eds a@1
        > lds l@1
        > rds r@1
        > sds s@1
        = cds a@1 eds=a | eds a@2 | lds l@1 rds=r | rds r@1 cds=a | sds s@1
        < eds a
    ");
}

#[test]
fn a_reconnect_gets_what_changed_and_what_is_gone() {
    run("
        = cds a@2 | cds new@1 | lds l@1 | eds a@1 | rds r@2
        > cds a@1 gone@1
        < cds a new
        > eds a@1 gone@1
        < eds -gone
        > lds l@1 gone@1
        < lds -gone
        > rds r@1
        < rds r
        ack rds
        ack lds
        # The cluster goes last, after the linger.
        wait 4.9
        wait 0.2
        < cds -gone
    ");
}

#[test]
fn a_reconnecting_client_that_has_no_listeners_loses_its_old_clusters_too() {
    run("
        > cds gone@1
        wait 9.9
        wait 0.2
        wait 4.8
        wait 0.3
        < cds -gone
    ");
}

#[test]
fn endpoints_follow_a_changed_cluster_even_unchanged() {
    connected(
        "
        = cds a@2 eds=a | eds a@1 | lds l@1 rds=r | rds r@1 cds=a
        < cds a
        < eds a
    ",
    );
}

#[test]
fn endpoints_follow_a_cluster_that_changed_while_disconnected() {
    run("
        = cds a@2 eds=a | eds a@1
        > cds a@1
        < cds a
        > eds a@1
        < eds a
    ");
    // However many responses have carried clusters until it asks for endpoints.
    run("
        = cds a@2 eds=a | eds a@1 | eds b@1
        > cds a@1
        < cds a
        = cds a@2 eds=a | cds b@1 eds=b | eds a@1 | eds b@1
        < cds b
        > eds a@1 b@1
        < eds a b
    ");
    // In whatever order the types are asked for.
    run("
        = cds a@2 eds=a | eds a@1
        > eds a@1
        > cds a@1
        < cds a
        < eds a
    ");
}

#[test]
fn a_cluster_without_an_assignment_warms_at_once() {
    connected(
        "
        = cds a@2 eds=a | lds l@1 rds=r | rds r@1 cds=a
        < cds a
        < eds -a
    ",
    );
}

#[test]
fn an_extension_or_a_secret_is_never_taken_away() {
    run("
        = ecds e@1 | sds s@1
        > ecds e missing
        < ecds e
        > sds s
        < sds s
        = ecds other@1
    ");
}

mod barriers {
    use super::*;

    #[test]
    fn a_route_waits_for_the_endpoints_of_a_new_cluster_and_nothing_else_does() {
        connected(
            "
            = cds a@1 eds=a | cds b@1 eds=b | eds a@1 | eds b@1 | lds l@1 rds=r | lds m@1 | rds r@2 cds=a,b
            < cds b
            < lds m
            > eds b
            < eds b
            ack lds
            # Envoy may withhold this one for long: ack cds
            ack eds
            < rds r
        ",
        );
    }

    #[test]
    fn endpoints_sent_before_the_cluster_do_not_count() {
        connected(
            "
            > eds b
            < eds -b
            = cds a@1 eds=a | cds b@1 eds=b | eds a@1 | eds b@1 | lds l@1 rds=r | rds r@2 cds=a,b
            < cds b
            < eds b
            ack eds
            ack eds
            < rds r
        ",
        );
    }

    #[test]
    fn a_barrier_opens_after_ten_seconds_and_is_counted() {
        let mut script = Script::new(Protocol::Delta);
        script.run(CONNECTED).run(
            "
            = cds a@1 eds=a | cds b@1 eds=b | eds a@1 | eds b@1 | lds l@1 rds=r | rds r@2 cds=a,b
            < cds b
            wait 9.9
        ",
        );
        assert!(script.machine.next_deadline().is_some());
        script.run(
            "
            wait 0.2
            < rds r
        ",
        );
        assert_eq!(script.machine.take_barrier_timeouts(), 1);
        assert_eq!(script.machine.next_deadline(), None);
    }

    #[test]
    fn clusters_without_eds_hold_nothing() {
        connected(
            "
            = cds a@1 eds=a | cds b@1 | eds a@1 | lds l@1 rds=r | rds r@2 cds=a,b,missing
            < cds b
            < rds r
        ",
        );
    }

    #[test]
    fn a_cluster_goes_after_the_route_is_acknowledged_and_a_linger() {
        connected(
            "
            = lds l@1 rds=r | rds r@2
            < rds r
            wait 60
            ack rds
            wait 4.9
            wait 0.2
            < cds -a
            < eds -a
        ",
        );
    }

    #[test]
    fn a_cluster_that_comes_back_while_it_lingers_is_left_alone() {
        connected(
            "
            = lds l@1 rds=r | rds r@2
            < rds r
            ack rds
            wait 3
            = cds a@1 eds=a | eds a@1 | lds l@1 rds=r | rds r@2
            wait 60
            = lds l@1 rds=r | rds r@2
            wait 3
            wait 3
            < cds -a
            < eds -a
        ",
        );
    }

    #[test]
    fn a_cluster_stays_while_the_listener_that_drops_it_warms() {
        connected(
            "
            # The listener moves to another route configuration and a secret; the old one served cluster a.
            = cds b@1 | lds l@2 rds=q sds=s | rds q@1 cds=b | rds r@1 cds=a | sds s@1
            < cds b
            < lds l
            ack lds
            wait 60
            > rds q
            < rds q
            ack rds
            wait 60
            > sds s
            < sds s
            wait 60
            ack sds
            > rds -r
            wait 5.1
            < cds -a
            < eds -a
        ",
        );
    }

    #[test]
    fn a_cluster_stays_until_the_route_configuration_that_a_listener_moves_to_is_acknowledged() {
        connected(
            "
            = cds b@1 | lds l@2 rds=q | rds q@1 cds=b | rds r@1 cds=a
            < cds b
            < lds l
            ack lds
            > rds q
            < rds q
            wait 60
            ack rds
            > rds -r
            wait 5.1
            < cds -a
            < eds -a
        ",
        );
    }

    #[test]
    fn a_warming_listener_holds_only_what_its_former_self_used() {
        connected(
            "
            = cds a@1 eds=a | cds b@1 | eds a@1 | lds l@1 rds=r | rds r@1 cds=a
            < cds b
            = cds a@1 eds=a | eds a@1 | lds l@2 rds=q | rds q@1 cds=a | rds r@1 cds=a
            < lds l
            ack lds
            wait 5.1
            < cds -b
        ",
        );
    }

    #[test]
    fn a_removal_that_waits_long_is_counted_once_and_keeps_waiting() {
        let mut script = Script::new(Protocol::Delta);
        script.run(CONNECTED).run(
            "
            = lds l@1 rds=r | rds r@2
            < rds r
            wait 11
            wait 60
        ",
        );
        assert_eq!(script.machine.take_barrier_timeouts(), 1);
    }
}

mod quarantine {
    use super::*;

    #[test]
    fn a_single_refused_resource_is_not_sent_again_until_it_changes() {
        connected(
            "
            = cds a@2 eds=a | eds a@1 | lds l@1 rds=r | rds r@1 cds=a
            < cds a
            < eds a
            nack cds bad
            ! cds a refused bad
            ack eds
            = cds a@2 eds=a | eds a@2 | lds l@1 rds=r | rds r@1 cds=a
            < eds a
            ack eds
            = cds a@3 eds=a | eds a@2 | lds l@1 rds=r | rds r@1 cds=a
            < cds a
            < eds a
            ack cds
            ! cds a withdrawn
        ",
        );
    }

    #[test]
    fn going_back_to_what_the_client_has_withdraws() {
        connected(
            "
            = cds a@1 eds=a | eds a@1 | lds l@1 rds=r | rds r@2 cds=a
            < rds r
            nack rds bad
            ! rds r refused bad
            = cds a@1 eds=a | eds a@1 | lds l@1 rds=r | rds r@1 cds=a
            > lds
            ! rds r withdrawn
        ",
        );
    }

    #[test]
    fn the_culprit_is_found_by_halves() {
        run("
            = lds a@1 | lds b@1 | lds c@1 | lds d@1 | lds e@1
            > lds
            < lds a b c d e
            nack lds ?
            < lds a b
            < lds c d e
            ack lds
            nack lds ?
            < lds c
            < lds d e
            ack lds
            nack lds ?
            < lds d
            < lds e
            nack lds d is bad
            ! lds d refused d is bad
            ack lds
            = lds a@1 | lds b@2 | lds c@1 | lds d@1 | lds e@1
            < lds b
            ack lds
        ");
    }

    #[test]
    fn a_reason_that_names_the_culprit_saves_rounds() {
        run("
            = lds a@1 | lds b@1 | lds c@1 | lds d@1
            > lds
            < lds a b c d
            nack lds Error adding/updating listener(s) c: x
            < lds a b d
            < lds c
            ack lds
            nack lds Error adding/updating listener(s) c: x
            ! lds c refused Error adding/updating listener(s) c: x
        ");
    }

    #[test]
    fn two_culprits_are_both_found() {
        run("
            = lds a@1 | lds b@1 | lds c@1
            > lds
            < lds a b c
            nack lds ?
            < lds a
            < lds b c
            nack lds ?
            ! lds a refused ?
            nack lds ?
            < lds b
            < lds c
            ack lds
            nack lds ?
            ! lds c refused ?
        ");
    }

    #[test]
    fn a_change_while_the_culprit_is_looked_for_is_sent_in_its_newest_form() {
        run("
            = lds a@1 | lds b@1
            > lds
            < lds a b
            nack lds ?
            < lds a
            < lds b
            = lds a@2 | lds b@1
            < lds a
            nack lds ?
            ack lds
            ack lds
        ");
    }

    #[test]
    fn unsubscribing_and_the_end_of_the_stream_withdraw() {
        let mut script = Script::new(Protocol::Delta);
        script.run(
            "
            = eds a@1 | eds b@1
            > eds a
            < eds a
            nack eds no
            ! eds a refused no
            > eds -a
            ! eds a withdrawn
            > eds b
            < eds b
            nack eds no
            ! eds b refused no
        ",
        );
        script.machine.end();
        script.run("! eds b withdrawn");
    }

    #[test]
    fn a_refused_cluster_or_assignment_holds_nothing() {
        connected(
            "
            = cds a@1 eds=a | cds b@1 eds=b | eds a@1 | eds b@1 | lds l@1 rds=r | rds r@2 cds=a,b
            < cds b
            nack cds bad
            < rds r
            ! cds b refused bad
        ",
        );
    }

    #[test]
    fn a_removal_beside_a_refused_resource_is_repeated() {
        connected(
            "
            = cds a@1 eds=a | eds a@1 | lds m@1 | rds r@1 cds=a
            < lds m -l
            nack lds bad
            < lds -l
            ! lds m refused bad
            nack lds never
        ",
        );
    }
}

/// As many responses as may be unanswered.
const UNANSWERED: usize = 32;

#[test]
fn a_client_that_never_answers_is_sent_the_newest_once_it_does() {
    let mut script = Script::new(Protocol::Delta);
    script.run(CONNECTED);
    for version in 2..100 {
        let sent = if version < 2 + UNANSWERED { "< eds a" } else { "" };
        script.run(&format!("= cds a@1 eds=a | eds a@{version} | lds l@1 rds=r | rds r@1 cds=a\n{sent}"));
    }
    script.run("ack eds\n < eds a");
    (0..UNANSWERED).for_each(|_| _ = script.run("ack eds"));
    script.run("= cds a@1 eds=a | eds a@99 | lds l@1 rds=r | rds r@1 cds=a");
}

#[test]
fn clusters_go_on_while_one_warms_and_cost_no_more_with_each() {
    let mut script = Script::new(Protocol::Delta);
    script.run(CONNECTED);
    for version in 2..100 {
        script.run(&format!("= cds a@{version} | eds a@1 | lds l@1 rds=r | rds r@1 cds=a\n < cds a"));
    }
    let awaited = &script.machine.watches[ResourceType::Cluster].as_ref().expect("it watches clusters").in_flight;
    assert_eq!((awaited.len(), awaited.iter().map(|f| f.items.len()).sum::<usize>()), (UNANSWERED, UNANSWERED));
    (1..UNANSWERED).for_each(|_| _ = script.run("ack cds"));
    // Which of the others is bad cannot be known: the newest is tried alone.
    script.run("ack cds\n nack cds no\n < cds a");
    // Answers to what it replaces say nothing.
    (UNANSWERED + 2..99).for_each(|_| _ = script.run("ack cds"));
    script.run("nack cds no\n ! cds a refused no");
}
