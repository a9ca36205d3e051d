"""RTP and RTCP as plain functions and state: no clock, no sockets."""
