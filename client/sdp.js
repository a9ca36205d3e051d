/** What the page wants of the media: codecs in order, stereo sound, and known round trips. Pure functions. */

/** What is listed with the codecs but carries no picture itself, and is of use: repetitions and parity packets. */
const REPAIR = ["video/rtx", "video/flexfec-03"];

/**
 * The codecs to offer, best first: H.264 in packetization-mode 1, VP8, then VP9, which costs the host most; each
 * only if the browser has it.
 * @template {{mimeType: string, sdpFmtpLine?: string}} Codec
 * @param {Codec[]} codecs as RTCRtpReceiver.getCapabilities lists them
 * @returns {Codec[]}
 */
export function codecPreferences(codecs) {
  const is = (/** @type {string} */ name) => (/** @type {Codec} */ { mimeType }) => mimeType.toLowerCase() === name;
  const h264 = codecs
    .filter(is("video/h264"))
    .filter(({ sdpFmtpLine }) => /(^|;)\s*packetization-mode=1/.test(sdpFmtpLine ?? ""));
  const vp9 = codecs.filter(is("video/vp9")).filter(({ sdpFmtpLine }) => !/profile-id=[1-9]/.test(sdpFmtpLine ?? ""));
  const pictures = [...h264, ...codecs.filter(is("video/vp8")), ...vp9];
  const repair = codecs.filter(({ mimeType }) => REPAIR.includes(mimeType.toLowerCase()));
  return pictures.length > 0 ? [...pictures, ...repair] : [];
}

/**
 * The offer with `stereo=1` for Opus: without it browsers decode to mono (RFC 7587 6.1).
 * @param {string} sdp
 */
export function withStereo(sdp) {
  const opus = [...sdp.matchAll(/^a=rtpmap:(\d+) opus\/48000\/2\r?$/gim)].map(([, payload]) => payload);
  return opus.reduce(
    (text, payload) =>
      text.replace(new RegExp(`^(a=fmtp:${payload} (?!.*\\bstereo=)[^\\r\\n]*)`, "gm"), "$1;stereo=1"),
    sdp,
  );
}

/**
 * The offer with `rrtr` where `nack pli` is: a browser that only receives then learns its round trip from the host
 * (RFC 3611 4.4, 4.5). Without it Chromium takes it for 100 ms before it asks again for a lost packet.
 * @param {string} sdp
 */
export function withRoundTrips(sdp) {
  return sdp.replace(/^(a=rtcp-fb:(\d+) nack pli)(\r?)$/gm, "$1$3\na=rtcp-fb:$2 rrtr$3");
}
