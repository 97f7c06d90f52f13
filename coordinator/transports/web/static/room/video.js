// Picture and sound of one stream. Sound needs the element even where there is no picture.

import { html, useLayoutEffect, useRef } from "/static/vendor/preact.js";

// onBlocked: the browser plays no sound before somebody has clicked; the picture plays without.
export function Video({ stream, isMuted = false, isMirrored = false, isHidden = false, onBlocked = () => {} }) {
  const video = useRef(null);
  useLayoutEffect(() => {
    const element = video.current;
    element.srcObject = stream;
    element.muted = isMuted; // Preact would set the attribute, which counts only once
    if (stream !== null) {
      element.play().catch((error) => {
        if (error.name === "NotAllowedError" && !isMuted) {
          onBlocked();
        }
      });
    }
    return () => {
      element.srcObject = null;
    };
  }, [stream, isMuted]);
  const classes = [isMirrored && "is-mirrored", isHidden && "is-hidden"].filter(Boolean).join(" ");
  // What it shows is said by the label of what it stands in.
  return html`<video ref=${video} class=${classes} autoplay playsinline aria-hidden="true"></video>`;
}
