/** Map icons of riders and pickups, drawn on a canvas at start. */

import type { Map as MapLibre } from "maplibre-gl";
import { DUTY_COLOR, STATUS_COLOR, UNKNOWN_COLOR } from "../colors";
import type { Duty, Freshness } from "../wire";

/** Drawn at twice the size, for high-density screens. */
const PIXEL_RATIO = 2;
const RIDER_PX = 26;
const PICKUP_PX = 22;
const OUTLINE_COLOR = "#070c13";
const FILL_COLOR = "#0e151f";

type Context2d = CanvasRenderingContext2D;

const SERVICES: Record<string, (context: Context2d) => void> = {
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

/** Add every icon that the two functions above can name. */
export function addIcons(map: MapLibre): void {
  for (const [duty, color] of Object.entries(DUTY_COLOR)) {
    for (const fill of ["full", "hollow"]) {
      const isHollow = fill === "hollow";
      addIcon(map, `rider-${duty}-arrow-${fill}`, RIDER_PX, (context) => drawArrow(context, color, isHollow));
      addIcon(map, `rider-${duty}-dot-${fill}`, RIDER_PX, (context) => drawDot(context, color, isHollow));
    }
  }
  for (const [service, draw] of Object.entries(SERVICES)) {
    for (const [status, color] of [...Object.entries(STATUS_COLOR), ["", UNKNOWN_COLOR]]) {
      addIcon(map, `pickup-${service}-${status}`, PICKUP_PX, (context) => drawPickup(context, color!, draw));
    }
  }
}

/** Draw an icon around its centre and add it. Units: CSS pixels. */
function addIcon(map: MapLibre, name: string, sizePx: number, draw: (context: Context2d) => void): void {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = sizePx * PIXEL_RATIO;
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser has no 2d canvas");
  context.scale(PIXEL_RATIO, PIXEL_RATIO);
  context.translate(sizePx / 2, sizePx / 2);
  context.lineJoin = context.lineCap = "round";
  draw(context);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  map.addImage(name, image, { pixelRatio: PIXEL_RATIO });
}

function drawArrow(context: Context2d, color: string, isHollow: boolean): void {
  context.beginPath();
  context.moveTo(0, -9);
  context.lineTo(6.2, 7);
  context.lineTo(0, 3.6);
  context.lineTo(-6.2, 7);
  context.closePath();
  fillAndStroke(context, color, isHollow);
}

function drawDot(context: Context2d, color: string, isHollow: boolean): void {
  context.beginPath();
  context.arc(0, 0, 5, 0, Math.PI * 2);
  fillAndStroke(context, color, isHollow);
}

function fillAndStroke(context: Context2d, color: string, isHollow: boolean): void {
  context.lineWidth = 4;
  context.strokeStyle = OUTLINE_COLOR;
  context.stroke();
  context.fillStyle = isHollow ? OUTLINE_COLOR : color;
  context.fill();
  context.lineWidth = 1.4;
  context.strokeStyle = color;
  context.stroke();
}

function drawPickup(context: Context2d, color: string, draw: (context: Context2d) => void): void {
  context.beginPath();
  context.roundRect(-8, -8, 16, 16, 5);
  context.lineWidth = 4;
  context.strokeStyle = OUTLINE_COLOR;
  context.stroke();
  context.fillStyle = FILL_COLOR;
  context.fill();
  context.lineWidth = 1.6;
  context.strokeStyle = color;
  context.stroke();
  context.lineWidth = 1.3;
  draw(context);
}

function drawFork(context: Context2d): void {
  context.beginPath();
  context.moveTo(-2.4, -4.5);
  context.lineTo(-2.4, 4.6);
  context.moveTo(-4.2, -4.5);
  context.lineTo(-4.2, -1.8);
  context.quadraticCurveTo(-2.4, -0.2, -0.6, -1.8);
  context.lineTo(-0.6, -4.5);
  context.moveTo(3, 4.6);
  context.lineTo(3, -4.5);
  context.quadraticCurveTo(5, -2.5, 3, 0.6);
  context.stroke();
}

function drawBasket(context: Context2d): void {
  context.beginPath();
  context.moveTo(-4.6, -0.8);
  context.lineTo(4.6, -0.8);
  context.lineTo(3.2, 4.2);
  context.lineTo(-3.2, 4.2);
  context.closePath();
  context.moveTo(-3, -0.8);
  context.quadraticCurveTo(0, -8, 3, -0.8);
  context.stroke();
}

function drawBox(context: Context2d): void {
  context.beginPath();
  context.rect(-4, -3.6, 8, 7.6);
  context.moveTo(-4, -1);
  context.lineTo(4, -1);
  context.moveTo(0, -3.6);
  context.lineTo(0, -1);
  context.stroke();
}
