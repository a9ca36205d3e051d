/**
 * Draws the host's mouse pointer: as this page's own where the user points, else (mouse locked, nothing controlled) on a
 * canvas over the picture, where the host says. cursor.js reads what the host tells.
 *
 * @typedef {import("./cursor.js").Shape} Shape
 */
import { CursorReader, pixelsOf } from "./cursor.js";
import { contentBox } from "./input/geometry.js";

/** Browsers show no larger pointer, in CSS pixels. */
const MAX_SHOWN = 128;

export class CursorView {
  #reader = new CursorReader();
  /** @type {object | null} */
  #peer = null;
  /** Drawn shapes; those of a channel that is gone are let go with it. @type {WeakMap<Shape, HTMLCanvasElement>} */
  #drawn = new WeakMap();

  /**
   * @param {HTMLElement} stage whose pointer it is
   * @param {HTMLVideoElement} video shows the picture with `object-fit: contain`
   * @param {HTMLCanvasElement} canvas over the picture
   */
  constructor(stage, video, canvas) {
    this.stage = stage;
    this.video = video;
    this.canvas = canvas;
    new ResizeObserver(() => this.#show()).observe(stage);
    document.addEventListener("pointerlockchange", () => this.#show());
    video.addEventListener("resize", () => this.#show());
  }

  /** Draw the pointer of this connection from now on; null: there is none. @param {object | null} peer */
  follow(peer) {
    if (peer === this.#peer) return;
    this.#peer = peer;
    this.#reader = new CursorReader();
    this.#show();
  }

  /** A message of the `cursor` channel. @param {object} peer whose it is @param {ArrayBuffer} message */
  hostSaid(peer, message) {
    if (peer !== this.#peer) this.follow(peer);
    if (this.#reader.hear(message)) this.#show();
  }

  /** What was drawn of a shape; asks for it to be, and shows it then. @param {Shape} shape */
  #pixels(shape) {
    const drawn = this.#drawn.get(shape);
    if (drawn) return drawn.width > 0 ? drawn : null;
    const canvas = document.createElement("canvas");
    canvas.width = 0;
    this.#drawn.set(shape, canvas);
    void pixelsOf(shape).then((pixels) => {
      if (!pixels) return console.warn("A shape of the host's pointer is none.");
      canvas.width = shape.width;
      canvas.height = shape.height;
      canvas.getContext("2d")?.putImageData(new ImageData(pixels, shape.width, shape.height), 0, 0);
      this.#show();
    });
    return null;
  }

  #show() {
    const { look, shape, screen, place, apart } = this.#reader;
    const image = shape && this.#pixels(shape);
    if (look === "shown" && !image) return; // soon: what was shown before stays until then
    const away = apart || document.pointerLockElement === this.stage;
    const box = contentBox(this.video.getBoundingClientRect(), screen.width, screen.height);
    this.canvas.hidden = !(image && away && place);
    if (!image || !shape) {
      this.stage.style.cursor = look === "hidden" ? "none" : "";
      return;
    }
    const scale = Math.min(box.width / screen.width, MAX_SHOWN / Math.max(shape.width, shape.height));
    if (!away) {
      this.stage.style.cursor = asPointer(image, shape, scale);
    } else if (place) {
      this.#draw(image, scale);
      const left = box.x + place.x * box.width - shape.hotX * scale;
      const top = box.y + place.y * box.height - shape.hotY * scale;
      this.canvas.style.transform = `translate(${left}px, ${top}px)`;
    }
    if (apart) this.stage.style.cursor = "";
  }

  /** @param {HTMLCanvasElement} image @param {number} scale */
  #draw(image, scale) {
    const drawn = scaled(image, scale * devicePixelRatio);
    this.canvas.width = drawn.width;
    this.canvas.height = drawn.height;
    this.canvas.style.width = `${image.width * scale}px`;
    this.canvas.style.height = `${image.height * scale}px`;
    this.canvas.getContext("2d")?.drawImage(drawn, 0, 0);
  }
}

/** @param {HTMLCanvasElement} image @param {number} scale */
function scaled(image, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  const context = canvas.getContext("2d");
  if (context) {
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
  }
  return canvas;
}

/**
 * The CSS value of `cursor` that shows an image with its hot spot.
 * @param {HTMLCanvasElement} image @param {Shape} shape @param {number} scale CSS pixels a pixel of the image
 */
function asPointer(image, { hotX, hotY }, scale) {
  const hot = `${Math.round(hotX * scale)} ${Math.round(hotY * scale)}`;
  const fine = devicePixelRatio !== 1 && CSS.supports("cursor", 'image-set(url("dot.svg") 2x) 0 0, default');
  const url = `url("${scaled(image, scale * (fine ? devicePixelRatio : 1)).toDataURL()}")`;
  return `${fine ? `image-set(${url} ${devicePixelRatio}x)` : url} ${hot}, default`;
}
