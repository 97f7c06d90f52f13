// Why does a picture not play? What every video of the page shows, and what every connection has sent and received.
(async () => {
  const videos = [...document.querySelectorAll("video")].map((video) => ({
    user: video.closest("[data-user]")?.dataset.user ?? null,
    size: `${video.videoWidth}x${video.videoHeight}`,
    time: video.currentTime,
    isPaused: video.paused,
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
    tracks: (video.srcObject?.getTracks() ?? []).map(({ kind, readyState, muted }) => ({ kind, readyState, muted })),
  }));
  const connections = window.connections.map(async ({ connection, madeAt }) => {
    const { signalingState, iceConnectionState, connectionState } = connection;
    const stats = signalingState === "closed" ? [] : [...(await connection.getStats()).values()];
    const video = stats
      .filter(({ type, kind }) => kind === "video" && /(bound-rtp|media-source)$/.test(type))
      .map(({ type, frames, framesSent, framesReceived, framesDecoded, packetsSent, packetsReceived }) =>
        ({ type, frames, framesSent, framesReceived, framesDecoded, packetsSent, packetsReceived }));
    const sends = connection.getSenders().map(({ track }) => track && `${track.kind} ${track.readyState}`);
    const agreed = connection.getTransceivers().map(({ mid, currentDirection }) => `${mid} ${currentDirection}`);
    return { madeAt, sends, agreed, signalingState, iceConnectionState, connectionState, video };
  });
  return { now: Math.round(performance.now()), videos, connections: await Promise.all(connections) };
})()
