/** The little pictures on the map, drawn on a canvas at start: riders and pickups. */

import type { Map as MapLibre } from "maplibre-gl";
import { DUTY_COLOR, STATUS_COLOR, UNKNOWN_COLOR } from "../colors";
import type { Duty, Freshness } from "../wire";

/** Drawn at twice the size, for dense screens. */
const PIXEL_RATIO = 2;
const RIDER_PX = 26;
const PICKUP_PX = 22;
const OUTLINE_COLOR = "#070c13";
const FILL_COLOR = "#0e151f";

type Pen = CanvasRenderingContext2D;

const SERVICES: Record<string, (pen: Pen) => void> = {
  FOOD: drawFork,
  MART: drawBasket,
  PACKAGE: drawBox,
};

export function riderIcon(duty: Duty, state: Freshness, hasHeading: boolean): string {
  return `rider-${duty}-${hasHeading ? "arrow" : "dot"}-${state === "lost" ? "hollow" : "full"}`;
}

export function pickupIcon(service: string, status: string): string {
  return `pickup-${service in SERVICES ? service : "PACKAGE"}-${status in STATUS_COLOR ? status : ""}`;
}

/** Give the map every icon that the two functions above can name. */
export function addIcons(map: MapLibre): void {
  for (const [duty, color] of Object.entries(DUTY_COLOR)) {
    for (const fill of ["full", "hollow"]) {
      const isHollow = fill === "hollow";
      addIcon(map, `rider-${duty}-arrow-${fill}`, RIDER_PX, (pen) => drawArrow(pen, color, isHollow));
      addIcon(map, `rider-${duty}-dot-${fill}`, RIDER_PX, (pen) => drawDot(pen, color, isHollow));
    }
  }
  for (const [service, draw] of Object.entries(SERVICES)) {
    for (const [status, color] of [...Object.entries(STATUS_COLOR), ["", UNKNOWN_COLOR]]) {
      addIcon(map, `pickup-${service}-${status}`, PICKUP_PX, (pen) => drawPickup(pen, color!, draw));
    }
  }
}

/** Drawn around the middle, in CSS pixels. */
function addIcon(map: MapLibre, name: string, sizePx: number, draw: (pen: Pen) => void): void {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = sizePx * PIXEL_RATIO;
  const pen = canvas.getContext("2d");
  if (!pen) throw new Error("this browser has no 2d canvas");
  pen.scale(PIXEL_RATIO, PIXEL_RATIO);
  pen.translate(sizePx / 2, sizePx / 2);
  pen.lineJoin = pen.lineCap = "round";
  draw(pen);
  const image = pen.getImageData(0, 0, canvas.width, canvas.height);
  map.addImage(name, image, { pixelRatio: PIXEL_RATIO });
}

function drawArrow(pen: Pen, color: string, isHollow: boolean): void {
  pen.beginPath();
  pen.moveTo(0, -9);
  pen.lineTo(6.2, 7);
  pen.lineTo(0, 3.6);
  pen.lineTo(-6.2, 7);
  pen.closePath();
  fillAndStroke(pen, color, isHollow);
}

function drawDot(pen: Pen, color: string, isHollow: boolean): void {
  pen.beginPath();
  pen.arc(0, 0, 5, 0, Math.PI * 2);
  fillAndStroke(pen, color, isHollow);
}

function fillAndStroke(pen: Pen, color: string, isHollow: boolean): void {
  pen.lineWidth = 4;
  pen.strokeStyle = OUTLINE_COLOR;
  pen.stroke();
  pen.fillStyle = isHollow ? OUTLINE_COLOR : color;
  pen.fill();
  pen.lineWidth = 1.4;
  pen.strokeStyle = color;
  pen.stroke();
}

function drawPickup(pen: Pen, color: string, draw: (pen: Pen) => void): void {
  pen.beginPath();
  pen.roundRect(-8, -8, 16, 16, 5);
  pen.lineWidth = 4;
  pen.strokeStyle = OUTLINE_COLOR;
  pen.stroke();
  pen.fillStyle = FILL_COLOR;
  pen.fill();
  pen.lineWidth = 1.6;
  pen.strokeStyle = color;
  pen.stroke();
  pen.lineWidth = 1.3;
  draw(pen);
}

function drawFork(pen: Pen): void {
  pen.beginPath();
  pen.moveTo(-2.4, -4.5);
  pen.lineTo(-2.4, 4.6);
  pen.moveTo(-4.2, -4.5);
  pen.lineTo(-4.2, -1.8);
  pen.quadraticCurveTo(-2.4, -0.2, -0.6, -1.8);
  pen.lineTo(-0.6, -4.5);
  pen.moveTo(3, 4.6);
  pen.lineTo(3, -4.5);
  pen.quadraticCurveTo(5, -2.5, 3, 0.6);
  pen.stroke();
}

function drawBasket(pen: Pen): void {
  pen.beginPath();
  pen.moveTo(-4.6, -0.8);
  pen.lineTo(4.6, -0.8);
  pen.lineTo(3.2, 4.2);
  pen.lineTo(-3.2, 4.2);
  pen.closePath();
  pen.moveTo(-3, -0.8);
  pen.quadraticCurveTo(0, -8, 3, -0.8);
  pen.stroke();
}

function drawBox(pen: Pen): void {
  pen.beginPath();
  pen.rect(-4, -3.6, 8, 7.6);
  pen.moveTo(-4, -1);
  pen.lineTo(4, -1);
  pen.moveTo(0, -3.6);
  pen.lineTo(0, -1);
  pen.stroke();
}
