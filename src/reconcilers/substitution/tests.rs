use super::*;

fn check(text: &str) -> Result<(), Fault> {
    super::check(text, &mut Expressions::default())
}

fn command_of(text: &str) -> Option<(&str, &str, Option<u64>, &str)> {
    Command::read(text).map(|(c, rest)| (c.name, c.parameters, c.length, rest))
}

#[test]
fn commands_end_where_envoy_sees_their_end() {
    assert_eq!(command_of("PROTOCOL% x"), Some(("PROTOCOL", "", None, " x")));
    assert_eq!(command_of("REQ(a?b):10%"), Some(("REQ", "a?b", Some(10), "")));
    assert_eq!(command_of("CEL(size(a))% %REQ(b)%"), Some(("CEL", "size(a)", None, " %REQ(b)%")));
    assert_eq!(command_of("A(x)y% (z)%"), Some(("A", "x)y% (z", None, "")));
    for none in ["", "%", "a%", "REQ(a", "REQ(a)", "REQ(a):%", "REQ(a):18446744073709551616%", "REQ(a\n)%", "20b"] {
        assert_eq!(command_of(none), None, "{none:?}");
    }
}

/// As a real Envoy 1.40 takes them.
#[test]
fn envoy_takes_these() {
    for good in [
        "",
        "a b",
        "100%%",
        "%%%REQ(a)%%%",
        "%REQ(:method)% %REQ(a?b):10% %RESP(?)% %TRAILER(a?)%",
        "%DOWNSTREAM_REMOTE_ADDRESS%%PROTOCOL()%",
        "%START_TIME(%Y-%m-%d %%)%",
        "%DYNAMIC_METADATA(a:b):5%%CLUSTER_METADATA(a:b)%%METADATA(ROUTE:a):4%",
        "%FILTER_STATE(a)%%FILTER_STATE(a:)%%FILTER_STATE(a:FIELD:b:c):4%%UPSTREAM_FILTER_STATE(a:TYPED)%",
        "%PATH%%PATH(WQ:ORIG:x):4%%PATH(:ORIG_OR_PATH)%%QUERY_PARAM(a b)%%QUERY_PARAMS(DECODED):4%",
        "%REQUESTED_SERVER_NAME(HOST_FIRST:ORIG_OR_HOST)%",
        "%GRPC_STATUS(NUMBER)%%GRPC_STATUS%%GRPC_STATUS_NUMBER%",
        "%COMMON_DURATION(a:b)%%COMMON_DURATION(::us)%",
        "%CEL(size(a) > 1):5%",
        "%COALESCE({\"operators\":[\"PROTOCOL\",{\"command\":\"REQ\",\"param\":\"a\",\"max_length\":4}]}):4%",
        "%RESPONSE_CODE_DETAILS(X)%%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(MASK_PREFIX_LEN=16)%",
        "%ENVIRONMENT(a b=):4%",
    ] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
}

#[test]
fn envoy_refuses_these() {
    for bad in ["100%", "a%20b", "%a%", "%REQ(x%", "%%%", "%REQ(x)", "%REQ(a)% %", "%REQ(a\n)%"] {
        assert_eq!(check(bad), Err(Fault::Percent), "{bad}");
    }
    for bad in [
        "%NO_SUCH_COMMAND%",
        "%REQ%",
        "%REQ()%",
        "%REQ(a b)%",
        "%REQ(a?b?c)%",
        "%REQ(:)%",
        "%REQ(a:b)%",
        "%REQ(é)%",
        "%PROTOCOL(a)%",
        "%PROTOCOL:4%",
        "%START_TIME(%n)%",
        "%START_TIME(%%n)%",
        "%START_TIME(%Y):4%",
        "%DYNAMIC_METADATA%",
        "%CLUSTER_METADATA(a):4%",
        "%METADATA(X:a)%",
        "%METADATA%",
        "%FILTER_STATE(:PLAIN)%",
        "%FILTER_STATE(a:X)%",
        "%FILTER_STATE(a:FIELD)%",
        "%FILTER_STATE(a:FIELD:)%",
        "%FILTER_STATE(a:PLAIN:b)%",
        "%PATH(X)%",
        "%PATH(WQ:X)%",
        "%QUERY_PARAMS(ORIG:)%",
        "%REQUESTED_SERVER_NAME(SNI_ONLY):4%",
        "%GRPC_STATUS(X)%",
        "%COMMON_DURATION(a)%",
        "%COMMON_DURATION(a:b:s)%",
        "%COMMON_DURATION(a:b:ms:c)%",
        "%CEL(a +)%",
        "%CEL%",
        "%COALESCE(a)%",
        "%COALESCE({\"operators\":[]})%",
        "%COALESCE({\"operators\":[\"NO\"]})%",
        "%COALESCE({\"operators\":[{\"command\":\"REQ\"}]})%",
        "%COALESCE({\"operators\":[{\"command\":\"REQ\",\"param\":\"a\",\"max_length\":0.5}]})%",
    ] {
        assert!(matches!(check(bad), Err(Fault::Command(_))), "{bad}: {:?}", check(bad));
    }
}

#[test]
fn long_formats_are_judged_in_time() {
    for piece in ["%REQ(a)%", "%A(", "%CEL(a)", "%%", "%REQ(a):1", ")"] {
        let _judged = check(&piece.repeat(200_000));
    }
    let nested = (0..6).fold("PROTOCOL".to_owned(), |inner, _| {
        format!("{{\"operators\":[{{\"command\":\"COALESCE\",\"param\":{inner:?}}}]}}")
    });
    assert!(check(&format!("%COALESCE({nested})%")).is_err());
}
