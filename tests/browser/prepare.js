// What every page of a test is given before its own code runs: a camera of its own, and a memory for explain.js.
//
// Chromium pretends to have ten cameras. Pages that share one share its few buffers for pictures as well, and on a busy
// machine each of them may hold its last pictures so long that none is left for a new one: then it gives none to anybody.
// The second of them pretends to measure depth (16 bits a point, all grey), which WebRTC does not send.

const CAMERA = [0, 2, 3, 4, 5, 6, 7, 8, 9][__PERSON__];

const open = MediaDevices.prototype.getUserMedia;
MediaDevices.prototype.getUserMedia = async function (constraints) {
  const camera = (await this.enumerateDevices()).filter(({ kind }) => kind === "videoinput")[CAMERA];
  if (!constraints.video || !camera?.deviceId) {
    return open.call(this, constraints); // no camera is wanted, or none may be had
  }
  return open.call(this, { ...constraints, video: { deviceId: { exact: camera.deviceId }, ...constraints.video } });
};

window.connections = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...options) {
    super(...options);
    window.connections.push({ connection: this, madeAt: Math.round(performance.now()) });
  }
};
